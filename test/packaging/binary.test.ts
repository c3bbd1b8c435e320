/** The compiled binary is the program whatever lies in the environment and in the working directory. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const repository = resolve(import.meta.dir, '../..')
const binary = join(repository, 'build/proxsave')
const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string }
const built = existsSync(binary)
if (!built) console.log('skipped: build/proxsave is not there; npm run build makes it')

describe.skipIf(!built)('the binary', () => {
    let dir: string
    const ranInstead = () => existsSync(join(dir, 'ran'))
    const run = (env: Record<string, string>, argv = ['--version']) => {
        const ran = Bun.spawnSync([binary, ...argv], {
            cwd: dir,
            env: { PATH: '/usr/bin:/bin', ...env },
            stdin: 'ignore',
            timeout: 20_000,
        })
        return { status: ran.exitCode, out: ran.stdout.toString(), err: ran.stderr.toString() }
    }

    beforeAll(() => {
        dir = mkdtempSync(join(tmpdir(), 'proxsave-binary-'))
        const hijack = `require('node:fs').writeFileSync(${JSON.stringify(join(dir, 'ran'))}, '')`
        writeFileSync(join(dir, 'hijack.js'), hijack)
        writeFileSync(join(dir, 'bunfig.toml'), 'preload = ["./hijack.js"]\n')
        writeFileSync(join(dir, '.env'), 'PROXSAVE_SOCKET=/from/dotenv\nBUN_OPTIONS=--preload ./hijack.js\n')
    })
    afterAll(() => rmSync(dir, { recursive: true, force: true }))

    test('says its version', () => {
        expect(run({})).toEqual({ status: 0, out: `proxsave ${version}\n`, err: '' })
    })

    test.each([
        ['BUN_BE_BUN', '1'],
        ['BUN_OPTIONS', '--preload ./hijack.js'],
        ['BUN_INSPECT', '1'],
        ['BUN_INSPECT_PRELOAD', './hijack.js'],
        ['NODE_OPTIONS', '--require ./hijack.js'],
    ])('is not something else for %s', (name, value) => {
        expect(run({ [name]: value })).toEqual({ status: 0, out: `proxsave ${version}\n`, err: '' })
        expect(ranInstead()).toBe(false)
    })

    test('takes no orders from the working directory', () => {
        expect(run({}).out).toBe(`proxsave ${version}\n`)
        expect(ranInstead()).toBe(false)
        const status = run({}, ['proxsavectl', 'status'])
        expect(status.err).not.toContain('/from/dotenv')
    })

    test.each([['--preload'], ['-e'], ['--eval'], ['run']])('gives %s to the program', option => {
        expect(run({}, [option, './hijack.js']).status).not.toBe(0)
        expect(ranInstead()).toBe(false)
    })
})

test('the change log of the package has the version of package.json', () => {
    const line = readFileSync(join(repository, 'debian/changelog'), 'utf8').split('\n', 1)[0]
    expect(line).toMatch(`proxsave (${version}) `)
})
