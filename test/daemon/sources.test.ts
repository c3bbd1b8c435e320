/** Archives on a remote of rclone, at the command line against a real daemon: a remote that is a directory. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
    copyFileSync,
    existsSync,
    mkdirSync,
    readdirSync,
    readFileSync,
    rmSync,
    statSync,
    writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { readHead } from '../../src/archive/head.ts'
import { have, hostTree, Shelf } from '../fixtures/upstream.ts'
import { treeState } from '../restore/stamps.ts'
import { RunningDaemon, until } from './running.ts'

setDefaultTimeout(60_000)

const here = have('rclone')
const shelf = new Shelf()
let daemon: RunningDaemon
let remote: string
let own: string
let bundle: string
let id: string

const json = async (...args: string[]) => {
    const ran = await daemon.ctl(...args, '--json')
    return { ...ran, document: JSON.parse(ran.out) }
}
const at = (path: string) => join(daemon.root, path)
const copies = () => {
    const path = join(daemon.state, 'downloads')
    return existsSync(path) ? readdirSync(path) : []
}
/** The daemon removes them right behind its answer. */
const noCopies = () => until(() => copies().length === 0, 'no copy is left')
const byName = (backups: { name: string }[]) => backups.map(({ name }) => name).sort()

beforeAll(async () => {
    if (!here) return
    daemon = await RunningDaemon.begin(daemon => {
        remote = join(daemon.base, 'remote')
        mkdirSync(remote)
        daemon.write('etc/rclone.conf', `[shelf]\ntype = alias\nremote = ${remote}\n`)
        daemon.write(
            'etc/proxsave/proxsave.toml',
            '[source.cloud]\ntype = "rclone"\nremote = "shelf:"\nconfig = "/etc/rclone.conf"\n',
        )
        daemon.write('etc/cron.d/nightly', '0 3 * * * root /usr/local/bin/tidy\n')
    })
    expect((await daemon.ctl('setup', '--defaults')).status).toBe(0)
    expect((await daemon.ctl('backup')).status).toBe(0)
    const [backup] = (await json('list')).document.backups
    own = backup.name
    id = backup.id
    copyFileSync(backup.path, join(remote, own))
    // Only the source has it.
    rmSync(backup.path)
    const pieces = hostTree().filter(({ path }) => !path.includes('pve-cluster'))
    const made = shelf.make({ bundle: true, pieces })
    bundle = made.path.slice(made.path.lastIndexOf('/') + 1)
    copyFileSync(made.path, join(remote, bundle))
})
afterAll(async () => {
    if (here) await daemon.end()
    shelf.remove()
})

describe.skipIf(!here)('a source', () => {
    test('is listed with --all-hosts and by its name, and not otherwise', async () => {
        expect((await json('list')).document.backups).toEqual([])
        const { document } = await json('list', '--all-hosts')
        expect([document.problems, byName(document.backups)]).toEqual([undefined, [own, bundle].sort()])
        const named = await json('list', '--target', 'cloud')
        expect(named.document.backups).toMatchObject(document.backups)
        expect(document.backups.find(({ name }: { name: string }) => name === own)).toMatchObject({
            id,
            target: 'cloud',
            host: 'testhost',
            own: true,
        })
        expect(document.backups.find(({ name }: { name: string }) => name === bundle)).toMatchObject({
            target: 'cloud',
            host: 'pve1',
            reason: 'upstream',
        })
    })

    test('shows an archive by its beginning alone', async () => {
        expect((await json('show', id)).document.manifest.id).toBe(id)
        expect((await daemon.ctl('show', bundle)).out).toContain('Go ProxSave')
        expect(existsSync(join(daemon.state, 'downloads'))).toBe(false)
    })

    test('is checked by doctor, with its archives counted', async () => {
        const { document } = await json('doctor')
        expect(document.checks.find(({ id }: { id: string }) => id === 'source')).toMatchObject({
            state: 'ok',
            text: 'cloud: 2 archives at shelf:',
        })
    })

    test('verify, show --files, extract, decrypt and diff work, and leave no copy', async () => {
        const verified = await daemon.ctl('verify', id, '--deep')
        expect([verified.status, verified.out]).toEqual([0, expect.stringContaining('whole')])
        expect((await daemon.ctl('verify', bundle)).out).toContain('signs nothing')
        expect((await daemon.ctl('show', id, '--files')).out).toContain('/etc/cron.d/nightly')
        const output = join(daemon.base, 'out')
        expect((await daemon.ctl('extract', bundle, '/etc/second.conf', '--output', output)).status).toBe(0)
        expect(readFileSync(join(output, 'etc/second.conf'), 'utf8')).toBe('the same\n')
        const plain = join(daemon.base, 'plain.proxsave.tar')
        expect((await daemon.ctl('decrypt', id, '--output', plain)).status).toBe(0)
        expect(statSync(plain).size).toBeGreaterThan(1000)
        expect((await daemon.ctl('diff', id, 'live')).err).toBe('')
        await noCopies()
    })

    test('an archive without a bundle comes with what lies beside it', async () => {
        const { path } = shelf.make({ kind: 'xz', pieces: hostTree() })
        const from = path.slice(0, path.lastIndexOf('/'))
        const name = path.slice(from.length + 1)
        const files = readdirSync(from).filter(file => file.startsWith(name))
        expect(files.length).toBeGreaterThan(1)
        for (const file of files) copyFileSync(join(from, file), join(remote, file))
        expect((await json('show', name)).document.backup).toMatchObject({ target: 'cloud', host: 'pve1' })
        expect((await daemon.ctl('verify', name)).out).toContain('signs nothing')
        for (const file of files) rmSync(join(remote, file))
        await noCopies()
    })

    test('restore downloads once, plans, restores, and removes the copy', async () => {
        writeFileSync(at('etc/cron.d/nightly'), 'broken\n')
        const before = treeState(daemon.root, '/var/backups')
        const planned = await json('restore', id, '--category', 'crontabs', '--plan')
        expect([planned.status, planned.err]).toEqual([0, ''])
        expect(planned.document.files.replace).toContain('/etc/cron.d/nightly')
        expect(treeState(daemon.root, '/var/backups')).toEqual(before)
        // The next round of the conversation finds it.
        const [copy] = copies()
        const stamp = statSync(join(daemon.state, 'downloads', copy!, own), { bigint: true }).ino
        const body = { backup: id, categories: ['crontabs'], answers: {}, interactive: false }
        expect((await daemon.api('POST', '/v1/restores/plan', JSON.stringify(body))).text).toContain(
            '"digest"',
        )
        expect(statSync(join(daemon.state, 'downloads', copy!, own), { bigint: true }).ino).toBe(stamp)
        const done = await daemon.ctl('restore', id, '--category', 'crontabs', '--answer', 'confirm=RESTORE')
        expect([done.status, done.err]).toEqual([0, expect.any(String)])
        expect(readFileSync(at('etc/cron.d/nightly'), 'utf8')).toContain('/usr/local/bin/tidy')
        await noCopies()
    })

    test('a plan asks for the download, and a start without it changes nothing', async () => {
        const body = {
            backup: id,
            categories: ['crontabs'],
            answers: { confirm: 'RESTORE' },
            interactive: false,
        }
        const planned = await daemon.api('POST', '/v1/restores/plan', JSON.stringify(body))
        expect(JSON.parse(planned.text)).toEqual({
            fetch: { backup: id, from: 'shelf:', size: statSync(join(remote, own)).size },
        })
        const started = await daemon.api(
            'POST',
            '/v1/restores',
            JSON.stringify({ ...body, digest: '0'.repeat(64) }),
        )
        expect(JSON.parse(started.text).error.message).toContain('not here any more')
        await noCopies()
    })

    test('what is asked first names it without listing it, and then offers what it has', async () => {
        const ask = async (answers: Record<string, string>) => {
            const body = JSON.stringify({ answers, interactive: true })
            return JSON.parse((await daemon.api('POST', '/v1/restores/plan', body)).text).question
        }
        const first = await ask({})
        expect(first.id).toBe('source')
        expect(first.choices.map(({ text }: { text: string }) => text)).toContain('cloud (shelf:)')
        const second = await ask({ source: 'cloud' })
        expect(second.id).toBe('backup')
        expect(second.choices.map(({ value }: { value: string }) => value).sort()).toEqual(
            [id, bundle].sort(),
        )
    })

    test('an archive that is damaged there is refused when it arrives, and not kept', async () => {
        const name = own.replace(/_\d+/, '_20200101')
        const bytes = readFileSync(join(remote, own))
        const { data } = await readHead({ read: (at, length) => bytes.subarray(at, at + length) })
        bytes[data.at + 1000]! ^= 1
        writeFileSync(join(remote, name), bytes)
        const ran = await daemon.ctl('extract', name, '/etc/hostname', '--output', join(daemon.base, 'bad'))
        expect([ran.status, ran.err]).toEqual([5, expect.stringContaining('downloaded from shelf:')])
        expect(existsSync(join(daemon.base, 'bad/etc/hostname'))).toBe(false)
        await noCopies()
        rmSync(join(remote, name))
    })

    test('nothing there was written, and a restarted daemon removes what was left', async () => {
        expect(readdirSync(remote).sort()).toEqual([own, bundle].sort())
        await daemon.stop()
        mkdirSync(join(daemon.state, 'downloads/0123456789abcdef'), { recursive: true })
        await daemon.start()
        expect((await daemon.ctl('status')).status).toBe(0)
        await noCopies()
    })

    test('that cannot be reached is a problem of its own: the rest is listed', async () => {
        daemon.write('etc/rclone.conf', '')
        const { document, status } = await json('list', '--all-hosts')
        expect([status, document.problems]).toEqual([0, [expect.objectContaining({ target: 'cloud' })]])
        const named = await daemon.ctl('show', id)
        expect([named.status, named.err]).toEqual([1, expect.stringContaining("didn't find section")])
        const check = (await json('doctor')).document.checks.find(({ id }: { id: string }) => id === 'source')
        expect(check).toMatchObject({ state: 'failed', hint: expect.stringContaining('rclone config') })
    })
})
