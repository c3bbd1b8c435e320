/** The package as it is before anybody installs it: what it is called, how large it is, what lintian says. */
import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './base.ts'
import { packagePath } from './package.ts'

describe('the package', () => {
    const field = (name: string) =>
        Bun.spawnSync(['dpkg-deb', '--field', packagePath(), name]).stdout.toString().trim()

    test('has the version of package.json', () => {
        const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
            version: string
        }
        expect(field('Version')).toBe(version)
    })

    test('is at most 45 MB', () => {
        const size = statSync(packagePath()).size
        console.log(`the package has ${(size / 1e6).toFixed(1)} MB`)
        expect(size).toBeLessThanOrEqual(45e6)
    })

    test('has no errors that lintian knows', () => {
        const lintian = Bun.spawnSync(['lintian', '--fail-on', 'error', '--allow-root', packagePath()], {
            timeout: 120_000,
        })
        console.log(lintian.stdout.toString().trim() || 'lintian has nothing to say')
        expect(lintian.exitCode, lintian.stdout.toString()).toBe(0)
    })

    test('has a manual page for each program and for the configuration', () => {
        const files = Bun.spawnSync(['dpkg-deb', '--contents', packagePath()]).stdout.toString()
        for (const page of ['man1/proxsavectl.1.gz', 'man8/proxsaved.8.gz', 'man5/proxsave.toml.5.gz'])
            expect(files).toContain(page)
    })

    test('is all that the build leaves beside the source', () => {
        expect(readdirSync(join(repository, 'dist'))).toContain(packagePath().split('/').at(-1)!)
        expect(existsSync(join(repository, 'build/deb'))).toBe(false)
    })
})
