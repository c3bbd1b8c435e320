import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { adoptHost, loadHost, newHostId, nextSequence, parseHostId } from '../../src/keys/host-identity.ts'

const random = (bytes: number) => new Uint8Array(randomBytes(bytes))
const machineA = '0123456789abcdef0123456789abcdef'
const machineB = 'fedcba9876543210fedcba9876543210'
const dmiA = '4C4C4544-0042-3010-8044-B9C04F4D3132'
const dmiB = '4C4C4544-0042-3010-8044-B9C04F4D9999'

let dir: string
let state: string
let root: string
beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'proxsave-host-'))
    state = join(dir, 'state')
    root = join(dir, 'root')
    mkdirSync(state)
    mkdirSync(join(root, 'etc'), { recursive: true })
    mkdirSync(join(root, 'sys/class/dmi/id'), { recursive: true })
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function machine(id: string | undefined, uuid: string | undefined): void {
    rmSync(join(root, 'etc/machine-id'), { force: true })
    rmSync(join(root, 'sys/class/dmi/id/product_uuid'), { force: true })
    if (id !== undefined) writeFileSync(join(root, 'etc/machine-id'), `${id}\n`)
    if (uuid !== undefined) writeFileSync(join(root, 'sys/class/dmi/id/product_uuid'), `${uuid}\n`)
}

test('is made once, private, and is the same ever after', () => {
    machine(machineA, dmiA)
    const first = loadHost(state, root, random)
    expect(first).toMatchObject({ created: true, cloned: false })
    expect(first.id).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/)
    expect(statSync(join(state, 'host.json')).mode & 0o777).toBe(0o600)
    const bytes = readFileSync(join(state, 'host.json'), 'utf8')
    expect(bytes).not.toContain(machineA)
    expect(loadHost(state, root, random)).toEqual({ ...first, created: false })
    expect(readFileSync(join(state, 'host.json'), 'utf8')).toBe(bytes)
    expect(readdirSync(state)).toEqual(['host.json'])
})

describe('notices a clone', () => {
    for (const [what, id, uuid, differs] of [
        ['the machine-id is another', machineB, dmiA, ['machine-id']],
        ['the DMI UUID is another', machineA, dmiB, ['DMI UUID']],
        ['both are', machineB, dmiB, ['machine-id', 'DMI UUID']],
    ] as const)
        test(`when ${what}, at each load`, () => {
            machine(machineA, dmiA)
            const { id: hostId } = loadHost(state, root, random)
            machine(id, uuid)
            for (let n = 0; n < 2; n++)
                expect(loadHost(state, root, random)).toEqual({
                    id: hostId,
                    created: false,
                    cloned: true,
                    differs: [...differs],
                })
        })

    test('but not when one of them cannot be read, or is a placeholder', () => {
        machine(machineA, dmiA)
        loadHost(state, root, random)
        for (const [id, uuid] of [
            [undefined, dmiA],
            [machineA, undefined],
            [undefined, undefined],
            ['uninitialized', dmiA],
            [machineA, '00000000-0000-0000-0000-000000000000'],
            [machineA, 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF'],
            [machineA, '03000200-0400-0500-0006-000700080009'],
            [machineA, 'Not Settable'],
            [machineA, dmiA.toLowerCase()],
        ] as const) {
            machine(id, uuid)
            expect([id, uuid, loadHost(state, root, random).cloned]).toEqual([id, uuid, false])
        }
    })

    test('also where the id was made before the machine could be told', () => {
        machine(undefined, undefined)
        loadHost(state, root, random)
        machine(machineA, undefined)
        expect(loadHost(state, root, random).cloned).toBe(false)
        machine(machineB, undefined)
        expect(loadHost(state, root, random).cloned).toBe(true)
    })
})

describe('adopting', () => {
    test('takes an id over and binds it to this machine', () => {
        machine(machineA, dmiA)
        const own = loadHost(state, root, random).id
        const other = newHostId(random)
        expect(adoptHost(state, root, other.toUpperCase(), 41)).toBe(own)
        expect(loadHost(state, root, random)).toMatchObject({ id: other, cloned: false })
        expect(nextSequence(state)).toBe(42)
    })

    test('a new id ends the alarm of a clone; its own id says it is no clone', () => {
        machine(machineA, dmiA)
        const own = loadHost(state, root, random).id
        nextSequence(state)
        machine(machineA, dmiB)
        adoptHost(state, root, own)
        expect(loadHost(state, root, random)).toMatchObject({ id: own, cloned: false })
        expect(nextSequence(state)).toBe(2)
    })

    test('refuses what cannot be an id, and reads what people type', () => {
        const id = '0123456789abcdefghjkmnpqrs'
        expect(parseHostId(' OI23456789ABCDEFGHJKMNPQRS\n')).toBe('0123456789abcdefghjkmnpqrs')
        expect(parseHostId(id)).toBe(id)
        for (const wrong of ['', id.slice(1), `${id}x`, id.replace('a', 'u'), '../../../../../../../etc/pa'])
            expect(() => parseHostId(wrong)).toThrow('cannot use this host id')
        expect(() => adoptHost(state, root, 'x')).toThrow('cannot use')
        expect(readdirSync(state)).toEqual([])
    })
})

test('counts archives upwards, above what is seen on the targets', () => {
    machine(machineA, dmiA)
    loadHost(state, root, random)
    expect([
        nextSequence(state),
        nextSequence(state),
        nextSequence(state, 10),
        nextSequence(state, 3),
    ]).toEqual([1, 2, 11, 12])
})

test('a damaged file is not replaced by a new id', () => {
    for (const content of ['', '{', '{"version":1,"id":"short","sequence":0}', 'null', '{"version":2}']) {
        writeFileSync(join(state, 'host.json'), content)
        expect(() => loadHost(state, root, random)).toThrow('damaged')
        expect(readFileSync(join(state, 'host.json'), 'utf8')).toBe(content)
    }
})
