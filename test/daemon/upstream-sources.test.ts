/** A host that the Go ProxSave was used on: its directories and its remote are offered, and setup writes the remote down. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { have, hostTree, Shelf } from '../fixtures/upstream.ts'
import { RunningDaemon } from './running.ts'

setDefaultTimeout(60_000)

const here = have('rclone')
const shelf = new Shelf()
let daemon: RunningDaemon
let remote: string
let cloud: string
let local: string

const settings = 'opt/proxsave/configs/backup.env'
const env = [
    'CLOUD_ENABLED=true',
    'CLOUD_REMOTE=shelf',
    'CLOUD_REMOTE_PATH=/pve',
    `BACKUP_PATH=\${BASE_DIR}/backup`,
].join('\n')
const written = () => join(daemon.root, 'etc/proxsave/conf.d/10-setup.toml')
const nameOf = (path: string) => path.slice(path.lastIndexOf('/') + 1)

const json = async (...args: string[]) => JSON.parse((await daemon.ctl(...args, '--json')).out)
async function ask(answers: Record<string, string>) {
    const body = JSON.stringify({ answers, interactive: true })
    return JSON.parse((await daemon.api('POST', '/v1/restores/plan', body)).text)
}
const values = (question: { choices: { value: string }[] }) => question.choices.map(({ value }) => value)

beforeAll(async () => {
    if (!here) return
    const pieces = hostTree().filter(({ path }) => !path.includes('pve-cluster'))
    daemon = await RunningDaemon.begin(daemon => {
        remote = join(daemon.base, 'remote')
        mkdirSync(join(remote, 'pve'), { recursive: true })
        // Where rclone itself looks, and so the Go tool.
        daemon.write('root/.config/rclone/rclone.conf', `[shelf]\ntype = alias\nremote = ${remote}\n`)
        daemon.write(settings, env)
        const there = shelf.make({ bundle: true, pieces })
        cloud = nameOf(there.path)
        copyFileSync(there.path, join(remote, 'pve', cloud))
        const near = shelf.make({ bundle: true, pieces, kind: 'xz' })
        local = join(daemon.root, 'opt/proxsave/backup', nameOf(near.path))
        mkdirSync(join(daemon.root, 'opt/proxsave/backup'))
        copyFileSync(near.path, local)
    })
})
afterAll(async () => {
    if (here) await daemon.end()
    shelf.remove()
})

describe.skipIf(!here)('what backup.env names', () => {
    test('is listed: the remote as a source, and the directory', async () => {
        const { backups, problems } = await json('list', '--all-hosts')
        expect(problems).toBeUndefined()
        const places = backups.map(({ name, target }: { name: string; target: string }) => [name, target])
        expect(places).toContainEqual([cloud, 'go-proxsave'])
        expect(places).toContainEqual([nameOf(local), join(daemon.root, 'opt/proxsave/backup')])
        expect((await json('list', '--target', 'go-proxsave')).backups).toMatchObject([{ name: cloud }])
    })

    test('is offered by restore, and each leads to its archives', async () => {
        const first = (await ask({})).question
        expect(first.id).toBe('source')
        expect(values(first)).toEqual(['local', 'go-proxsave', '/opt/proxsave/backup', 'path'])
        expect(values((await ask({ source: 'go-proxsave' })).question)).toEqual([cloud])
        const near = (await ask({ source: '/opt/proxsave/backup' })).question
        expect([near.id, values(near)]).toEqual(['backup', [local]])
        // What was chosen is found again: the next question is about the archive itself.
        expect((await ask({ source: '/opt/proxsave/backup', backup: local })).question.id).toBe(
            'signature.untrusted',
        )
        const fetched = await ask({ source: 'go-proxsave', backup: cloud })
        expect(fetched.fetch).toMatchObject({ from: 'shelf:pve', backup: cloud })
    })

    test('is restored from the remote, and nothing there is written', async () => {
        const args = ['--category', 'network', '--answer', 'signature.untrusted=yes']
        const mismatch = ['--answer', 'compat.mismatch=yes']
        const planned = await json('restore', cloud, ...args, ...mismatch, '--plan')
        expect(planned.backup).toMatchObject({ maker: expect.any(String), signature: 'unsigned' })
        expect(readdirSync(join(remote, 'pve'))).toEqual([cloud])
        expect(readdirSync(remote)).toEqual(['pve'])
    })

    test('that does not answer is a warning, and no answer to another question', async () => {
        rmSync(join(daemon.root, 'root/.config/rclone/rclone.conf'))
        const check = (await json('doctor')).checks.find(({ id }: { id: string }) => id === 'source')
        expect(check).toMatchObject({ state: 'warning', text: expect.stringContaining('go-proxsave') })
        expect((await daemon.ctl('show', 'abcdefgh')).err).toContain('cannot find')
        daemon.write('root/.config/rclone/rclone.conf', `[shelf]\ntype = alias\nremote = ${remote}\n`)
    })

    test('that cannot be used is left out: other remotes than plain ones, files that are none', async () => {
        daemon.write(settings, `${env}\nCLOUD_REMOTE=:local\n`)
        expect(values((await ask({})).question)).toEqual(['local', '/opt/proxsave/backup', 'path'])
        rmSync(join(daemon.root, settings))
        mkdirSync(join(daemon.root, settings))
        expect((await daemon.ctl('list', '--all-hosts')).status).toBe(0)
        rmSync(join(daemon.root, settings), { recursive: true })
        daemon.write(settings, env)
    })

    test('setup tells of the remote, and leaves it out when told to', async () => {
        const found = JSON.parse((await daemon.api('GET', '/v1/setup')).text)
        expect(found.source).toEqual({ name: 'go-proxsave', remote: 'shelf:pve' })
        const order = JSON.stringify({ configure: true, source: false, keys: false })
        const { steps } = JSON.parse((await daemon.api('POST', '/v1/setup', order)).text)
        expect(steps.join()).not.toContain('source')
        // The target and the job are there now: what is left to write is the source alone.
        await daemon.ctl('attach', 'latest')
        expect(readFileSync(written(), 'utf8')).not.toContain('[source.')
    })

    test('setup writes it down, so that it outlives the Go tool, and a second run has nothing to do', async () => {
        const set = await daemon.ctl('setup', '--defaults')
        expect([set.status, set.out]).toEqual([
            0,
            expect.stringContaining('the source go-proxsave (shelf:pve)'),
        ])
        expect(readFileSync(written(), 'utf8')).toContain(
            '[source.go-proxsave]\ntype = "rclone"\nremote = "shelf:pve"\n',
        )
        expect((await daemon.ctl('setup', '--defaults')).out).toContain('nothing to do')
        rmSync(join(daemon.root, 'opt/proxsave/configs'), { recursive: true })
        expect(existsSync(local)).toBe(true)
        expect((await json('list', '--target', 'go-proxsave')).backups).toMatchObject([{ name: cloud }])
    })

    test('a source of the configuration with that remote, or that name, is respected', async () => {
        const own = (name: string, place: string) =>
            daemon.write(
                'etc/proxsave/conf.d/10-setup.toml',
                `[source.${name}]\ntype = "rclone"\nremote = "${place}"\n`,
            )
        daemon.write(settings, env)
        const sources = async () => {
            await daemon.stop()
            await daemon.start()
            return values((await ask({})).question).filter(value => !['local', 'path'].includes(value))
        }
        own('mine', 'shelf:pve/')
        expect(await sources()).toEqual(['mine', '/opt/proxsave/backup'])
        own('go-proxsave', 'shelf:')
        expect(await sources()).toEqual(['go-proxsave', 'go-proxsave-2', '/opt/proxsave/backup'])
    })
})
