/** Cards that are not renamed: whoever restores rules that name them is told, for those count at the next boot. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { repairNames } from '../../src/guard/repair.ts'
import type { GuardHost, GuardParams } from '../../src/guard/tasks.ts'
import { exec } from '../../src/host/exec.ts'
import { PlaceTree } from '../../src/host/place.ts'
import { testContext } from '../restore/context.ts'

let base: string
beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'proxsave-repair-'))
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

const rules = 'etc/udev/rules.d/70-persistent-net.rules'
const interfaces = 'etc/network/interfaces'
const inventory = 'var/lib/proxsave/captured/network/nics.json'

async function warnings(
    staged: Record<string, string>,
    live: Record<string, string> = {},
): Promise<string[]> {
    const write = (at: string, text: string) => {
        mkdirSync(dirname(join(base, at)), { recursive: true })
        writeFileSync(join(base, at), text)
    }
    mkdirSync(join(base, 'root'), { recursive: true })
    mkdirSync(join(base, 'own/stage'), { recursive: true })
    for (const [path, text] of Object.entries(staged)) write(`own/stage/${path}`, text)
    for (const [path, text] of Object.entries(live)) write(`root/${path}`, text)
    const actions = Object.keys(staged)
        .filter(path => path !== inventory)
        .map(path => ({ path, action: 'replace', type: 'file' }) as const)
    const params: GuardParams = { area: 'network', actions, timeoutMs: 1, exports: '/nowhere' }
    const host = { root: join(base, 'root'), exec } as unknown as GuardHost
    const context = testContext({ dir: join(base, 'own') })
    const own = new PlaceTree(join(base, 'own'))
    try {
        await repairNames(host, params, context, own)
    } finally {
        own.close()
    }
    return context.warnings
}

const naming = 'SUBSYSTEM=="net", ATTR{address}=="52:54:00:00:00:01", NAME="lan0"\n'

test('without an inventory, with interfaces files or without', async () => {
    for (const more of [{}, { [interfaces]: 'auto lo\niface lo inet loopback\n' }] as Record<
        string,
        string
    >[]) {
        const [told, ...others] = await warnings({ [rules]: `# ours\n${naming}`, ...more })
        expect(told).toStartWith(`rules that name network cards are restored (/${rules} line 2)`)
        expect(others).toEqual([])
    }
})

test('with an inventory that renames nothing', async () => {
    const empty = {
        [inventory]: '{"format":"proxsave-nics/1","nics":[]}\n',
        [interfaces]: 'auto lo\niface lo inet loopback\n',
    }
    expect((await warnings({ ...empty, [rules]: naming })).join()).toContain('at the next boot')
})

test('not for rules that are as they were, nor for none', async () => {
    expect(await warnings({ [rules]: `# another remark\n${naming}` }, { [rules]: naming })).toEqual([])
    expect(await warnings({ 'etc/systemd/network/10-a.link': '[Link]\nMTUBytes=9000\n' })).toEqual([])
})
