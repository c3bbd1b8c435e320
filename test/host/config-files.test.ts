/** The files of the configuration: which ones, in which order, and nothing from outside the root. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readConfigFiles } from '../../src/host/config-files.ts'

let base: string
let root: string
let etc: string
beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'proxsave-config-'))
    root = join(base, 'root')
    etc = join(root, 'etc/proxsave')
    mkdirSync(join(etc, 'conf.d'), { recursive: true })
})
afterEach(() => rmSync(base, { recursive: true }))

test('the main file comes first, then conf.d by name; leftovers of editors and dpkg are no configuration', () => {
    writeFileSync(join(etc, 'proxsave.toml'), 'main')
    for (const name of ['b.toml', '10-a.toml', 'B.toml', '.c.toml', 'd.toml.dpkg-new', 'e.toml~'])
        writeFileSync(join(etc, 'conf.d', name), name)
    expect(readConfigFiles(root)).toEqual([
        { file: '/etc/proxsave/proxsave.toml', text: 'main' },
        { file: '/etc/proxsave/conf.d/10-a.toml', text: '10-a.toml' },
        { file: '/etc/proxsave/conf.d/B.toml', text: 'B.toml' },
        { file: '/etc/proxsave/conf.d/b.toml', text: 'b.toml' },
    ])
})

test('no file, no directory: nothing is configured', () => {
    rmSync(join(root, 'etc'), { recursive: true })
    expect(readConfigFiles(root)).toEqual([])
})

test('a link inside the root is followed, one that leaves it or leads nowhere is refused', () => {
    writeFileSync(join(base, 'secret.toml'), 'outside')
    writeFileSync(join(etc, 'other'), 'inside')
    symlinkSync('other', join(etc, 'proxsave.toml'))
    expect(readConfigFiles(root)).toEqual([{ file: '/etc/proxsave/proxsave.toml', text: 'inside' }])
    symlinkSync(join(base, 'secret.toml'), join(etc, 'conf.d/10-x.toml'))
    expect(() => readConfigFiles(root)).toThrow('leads out of')
    rmSync(join(etc, 'conf.d/10-x.toml'))
    symlinkSync('/nowhere', join(etc, 'conf.d/10-x.toml'))
    expect(() => readConfigFiles(root)).toThrow('a link that leads nowhere')
})

test('bytes that are no text are refused, and so is a file beyond all measure', () => {
    writeFileSync(join(etc, 'proxsave.toml'), new Uint8Array([0xff, 0xfe]))
    expect(() => readConfigFiles(root)).toThrow('/etc/proxsave/proxsave.toml is not UTF-8')
    writeFileSync(join(etc, 'proxsave.toml'), new Uint8Array((1 << 20) + 1))
    expect(() => readConfigFiles(root)).toThrow('is larger than')
})
