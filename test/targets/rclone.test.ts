/** The source that is a remote of rclone: with the real program on a directory, and with one that misbehaves. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Fault } from '../../src/core/errors.ts'
import { type Exec, exec } from '../../src/host/exec.ts'
import { RcloneSource } from '../../src/targets/rclone.ts'
import { have } from '../fixtures/upstream.ts'
import { faultOf } from './conformance.ts'

const own = 'pve1_20261120T023000Z.proxsave.tar'
const bundle = 'pve1-backup-20261119-023000.tar.xz.bundle.tar'
const loose = 'pve1-backup-20261118-023000.tar.xz'

let base: string
const content = randomBytes(700_000)

beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), 'proxsave-rclone-'))
    const remote = join(base, 'remote')
    mkdirSync(join(remote, 'deep', `${own}`), { recursive: true })
    for (const name of [own, bundle, loose]) writeFileSync(join(remote, name), content)
    for (const name of ['notes.txt', `${loose}.sha256`, `${loose}.metadata`, `${loose}.log`])
        writeFileSync(join(remote, name), name)
    writeFileSync(join(base, 'rclone.conf'), `[shelf]\ntype = alias\nremote = ${remote}\n`)
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

function source(run: Exec = exec, remote = 'shelf:', timeoutMs = 5_000): RcloneSource {
    const config = {
        type: 'rclone',
        name: 'cloud',
        remote,
        timeoutMs,
        config: join(base, 'rclone.conf'),
    } as const
    return new RcloneSource(config, { root: '/', exec: run })
}

let count = 0
function emptyDirectory(): string {
    const path = join(base, `here-${count++}`)
    mkdirSync(path)
    return path
}

/** A program in the place of rclone; its last argument is "$last", the verb is "$verb". */
function fake(script: string): Exec {
    const path = join(base, `fake-${count++}`)
    const find = 'for last; do case $last in lsjson|cat|copyto) verb=$last;; esac; done'
    writeFileSync(path, `#!/bin/sh\n${find}\n${script}\n`)
    chmodSync(path, 0o755)
    return ([, ...args], options) => exec([path, ...args], options)
}

const fault = (work: Promise<unknown>): Promise<Fault> => faultOf(work)

describe.skipIf(!have('rclone'))('a remote', () => {
    test('lists archives of both kinds and nothing else, with what lies beside them', async () => {
        const listed = await source().list()
        expect(listed.map(({ name }) => name).sort()).toEqual([bundle, loose, own].sort())
        expect(listed.every(({ size, modifiedMs }) => size === content.length && modifiedMs > 0)).toBe(true)
        const found = listed.find(({ name }) => name === loose)
        expect(found?.beside?.map(({ name }) => name)).toEqual([`${loose}.sha256`, `${loose}.metadata`])
    })

    test('gives any part of an archive', async () => {
        const part = await source().read(own, 1000, 300)
        expect(Buffer.compare(part, content.subarray(1000, 1300))).toBe(0)
        expect((await source().read(own, content.length - 5, 300)).length).toBe(5)
    })

    test('is downloaded whole, with progress, and what is beside comes along', async () => {
        const directory = emptyDirectory()
        const archive = (await source().list()).find(({ name }) => name === loose)!
        const seen: number[] = []
        const path = await source().fetch(archive, directory, { progress: bytes => seen.push(bytes) })
        expect(Buffer.compare(readFileSync(path), content)).toBe(0)
        expect(readdirSync(directory).sort()).toEqual([loose, `${loose}.metadata`, `${loose}.sha256`].sort())
        expect(seen.at(-1)).toBe(content.length)
    })

    test('that is not configured, or a path that is not there, is told with a way out', async () => {
        const unknown = await fault(source(exec, 'nowhere:').list())
        expect([unknown.message, unknown.hint]).toEqual([
            expect.stringContaining('cannot list nowhere:: Failed to create file system'),
            expect.stringContaining('rclone config --config'),
        ])
        expect((await fault(source(exec, 'shelf:missing').list())).message).toContain('directory not found')
        expect((await fault(source().read('pve2.proxsave.tar', 0, 10))).message).toContain('not found')
    })
})

describe('a program that misbehaves', () => {
    test('is not installed: says so', async () => {
        const found = await fault(source(async () => ({ found: false })).list())
        expect([found.message, found.hint]).toEqual([
            'cannot list shelf:: rclone is not installed',
            'apt install rclone',
        ])
    })

    test('hangs: it is ended after the timeout, with a word on how to mend it', async () => {
        const found = await fault(source(fake('sleep 60'), 'shelf:', 300).list())
        expect(found.message).toContain('was silent for')
        expect(found.hint).toContain('[source.cloud]')
    })

    test('hangs in the middle of a download: likewise, however much has arrived', async () => {
        const run = fake('printf half >"$last"; sleep 60')
        const archive = { name: own, size: 1000, modifiedMs: 0 }
        const found = await fault(source(run, 'shelf:', 300).fetch(archive, emptyDirectory()))
        expect(found.message).toContain('cannot download shelf:: rclone was silent')
    })

    test('is interrupted: ends at once', async () => {
        const stop = new AbortController()
        const archive = { name: own, size: 1000, modifiedMs: 0 }
        const run = fake('printf half >"$last"; sleep 60')
        const going = source(run).fetch(archive, emptyDirectory(), {
            signal: stop.signal,
            progress: () => stop.abort(),
        })
        expect((await fault(going)).kind).toBe('refused')
    })

    test('fails: its last words are told, without their control characters', async () => {
        const found = await fault(
            source(fake(`printf 'first\\n2026/11/20 14:37:31 no \\033[31mway\\n' >&2; exit 7`)).list(),
        )
        expect(found.message).toBe('cannot list shelf:: no ?[31mway')
    })

    test.each(['echo garbage', 'echo "{}"', 'echo "[1]"', `echo '[{"Name":"x"}]'`, 'printf "["'])(
        'prints garbage as a listing: %s',
        async script => {
            expect((await fault(source(fake(script)).list())).message).toContain('no listing')
        },
    )

    test('lists names and sizes that no archive has: they are left out', async () => {
        const names = [
            '../x.proxsave.tar',
            '-v-backup-20261119-023000.tar.xz',
            'a\\nb-backup-20261119-023000.tar',
        ]
        const entries = names.map(name => `{"Name":"${name}","Size":1}`)
        entries.push(`{"Name":"${own}","Size":-1}`, `{"Name":"${bundle}","Size":5,"ModTime":"never"}`)
        const script = `cat <<'EOF'\n[${entries.join(',')}]\nEOF`
        expect(await source(fake(script)).list()).toEqual([{ name: bundle, size: 5, modifiedMs: 0 }])
    })

    test('gives more than was asked for: refused', async () => {
        expect((await fault(source(fake('echo 0123456789')).read(own, 0, 5))).message).toContain('more than')
    })

    test('cuts a download: noticed', async () => {
        const archive = { name: own, size: 1000, modifiedMs: 0 }
        const found = await fault(source(fake('printf half >"$last"')).fetch(archive, emptyDirectory()))
        expect(found.message).toBe(`cannot download shelf:${own}: 4 of 1000 bytes arrived`)
    })

    test('never gets an option out of a name, nor a word that writes to the remote', async () => {
        const seen: string[][] = []
        const run: Exec = async argv => {
            seen.push([...argv])
            return exec(['true'])
        }
        await fault(source(run).list())
        await source(run).read(own, 0, 5)
        await fault(source(run).fetch({ name: own, size: 9, modifiedMs: 0 }, emptyDirectory()))
        const verbs = seen.map(argv => argv.find(word => /^(lsjson|cat|copyto)$/.test(word)))
        expect(verbs).toEqual(['lsjson', 'cat', 'copyto'])
        const [from, to] = seen[2]!.slice(-2)
        expect([from, to]).toEqual([`shelf:${own}`, expect.stringContaining(base)])
    })
})
