/** The inventory of cards travels in each backup of a running host that has the network category, and in no other. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type WriteParams, writeArchive } from '../../src/backup/write.ts'
import { type Nic, nicInventoryPath, parseNicInventory } from '../../src/format/nic-inventory.ts'
import { inMemory, Lab, missingIn, recorder } from './lab.ts'

let lab: Lab
beforeEach(() => {
    lab = new Lab(inMemory())
})
afterEach(() => lab.remove())

const nics: Nic[] = [
    { name: 'eno1', permanentMac: '52:54:00:00:00:01', mac: '52:54:00:00:00:02', driver: 'igb' },
    { name: 'eno2', altnames: ['enp1s0f1'] },
]

/** Saves, and counts how often the cards were looked at. */
async function save(change: Partial<WriteParams>, read: () => Nic[] = () => nics) {
    let looks = 0
    const params = lab.params(change)
    await writeArchive(
        params,
        recorder(),
        async () => ({ found: false }),
        Date.now,
        () => {
            looks++
            return read()
        },
    )
    const paths = (await lab.files(params.output)).map(row => row.path)
    return { path: params.output, has: paths.includes(`/${nicInventoryPath}`), looks }
}

test('is saved with the network', async () => {
    const saved = await save({ capture: true, categories: ['network'] })
    expect(saved.has).toBe(true)
    const out = await lab.extract(saved.path, { paths: [`/${nicInventoryPath}`] })
    expect(parseNicInventory(readFileSync(join(out, nicInventoryPath)))).toEqual(nics)
    expect((await lab.verify(saved.path)).problems).toEqual([])
})

test('is not saved without the network, and not of another root', async () => {
    expect(await save({ capture: true, categories: ['ssh'] })).toMatchObject({ has: false, looks: 0 })
    expect(await save({ capture: false })).toMatchObject({ has: false, looks: 0 })
})

test('a host that does not tell its cards is saved without them, and the manifest says why', async () => {
    const saved = await save({ capture: true }, () => {
        throw new Error('poll: EAGAIN: netlink')
    })
    expect(saved.has).toBe(false)
    expect(missingIn(saved.path)[`/${nicInventoryPath}`]).toBe('failed: poll: EAGAIN: netlink')
})
