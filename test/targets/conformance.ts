/** What every target must do, whatever is behind it. A new kind of target runs this suite and adds its own tests. */
import { describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import type { Target } from '../../src/engine/target.ts'

export interface Subject {
    target: Target
    /** Leaves behind what an interrupted publication would, and tells its name. */
    interrupt(): Promise<string>
    close(): Promise<void> | void
}

const first = 'pve1_20261120T023000Z.proxsave.tar'
const second = 'pve1_20261121T023000Z.proxsave.tar'

export function targetConformance(what: string, make: () => Promise<Subject> | Subject): void {
    const check = (
        title: string,
        body: (subject: Subject, source: (bytes: Uint8Array) => string) => Promise<void>,
    ) =>
        test(title, async () => {
            const directory = mkdtempSync(join(tmpdir(), 'proxsave-source-'))
            const subject = await make()
            let number = 0
            try {
                await body(subject, bytes => {
                    const path = join(directory, `source-${number++}`)
                    writeFileSync(path, bytes)
                    return path
                })
            } finally {
                await subject.close()
                rmSync(directory, { recursive: true })
            }
        })

    describe(`${what} as a target`, () => {
        check('lists nothing before the first archive', async ({ target }) => {
            expect(await target.list()).toEqual([])
        })

        check('gives back what was published, whole and in parts', async ({ target }, source) => {
            const bytes = pattern(3_500_000)
            await target.publish(source(bytes), first)
            const [listed, ...others] = await target.list()
            expect(others).toEqual([])
            expect(listed).toMatchObject({ name: first, size: bytes.length })
            expect(Math.abs(listed!.modifiedMs - Date.now())).toBeLessThan(3_600_000)
            expect(Buffer.from(await target.read(first, 0, bytes.length)).equals(bytes)).toBe(true)
            const middle = Buffer.from(await target.read(first, 999_999, 7))
            expect(middle.equals(bytes.subarray(999_999, 1_000_006))).toBe(true)
            expect((await target.read(first, bytes.length - 5, 100)).length).toBe(5)
            expect((await target.read(first, bytes.length + 5, 100)).length).toBe(0)
        })

        check('reports the progress of a publication up to the whole size', async ({ target }, source) => {
            const seen: number[] = []
            await target.publish(source(pattern(3_000_000)), first, bytes => seen.push(bytes))
            expect(seen.at(-1)).toBe(3_000_000)
            expect(seen).toEqual(seen.toSorted((a, b) => a - b))
        })

        check('never replaces an archive', async ({ target }, source) => {
            await target.publish(source(Buffer.from('old')), first)
            const again = source(Buffer.from('new'))
            const fault = await faultOf(target.publish(again, first))
            expect(fault.facts.exists).toBe(first)
            expect(Buffer.from(await target.read(first, 0, 10)).toString()).toBe('old')
            expect(existsSync(again)).toBe(true)
        })

        check('leaves nothing when the source is not there', async ({ target }) => {
            expect((await faultOf(target.publish('/nowhere/at/all', first))).kind).toBe('failed')
            expect(await target.list()).toEqual([])
            expect(await target.sweep()).toEqual([])
        })

        check('removes one archive, and again without complaint', async ({ target }, source) => {
            await target.publish(source(Buffer.from('1')), first)
            await target.publish(source(Buffer.from('2')), second)
            await target.remove(first)
            await target.remove(first)
            expect((await target.list()).map(archive => archive.name)).toEqual([second])
        })

        check('refuses to read what it has not', async ({ target }) => {
            expect((await faultOf(target.read(first, 0, 1))).message).toStartWith('cannot read')
        })

        check('refuses names that are no archive or lead elsewhere', async ({ target }, source) => {
            for (const name of [
                '',
                '..',
                `../${first}`,
                `/etc/${first}`,
                'x.tar',
                `.${first}`,
                `a\0${first}`,
            ]) {
                expect((await faultOf(target.read(name, 0, 1))).kind).toBe('usage')
                expect((await faultOf(target.publish(source(Buffer.from('x')), name))).kind).toBe('usage')
                expect((await faultOf(target.remove(name))).kind).toBe('usage')
            }
        })

        check('hides unfinished archives and sweeps them away', async ({ target, interrupt }, source) => {
            await target.publish(source(Buffer.from('1')), first)
            const left = await interrupt()
            expect((await target.list()).map(archive => archive.name)).toEqual([first])
            expect(await target.sweep()).toEqual([left])
            expect(await target.sweep()).toEqual([])
            expect((await target.list()).map(archive => archive.name)).toEqual([first])
        })

        check('has its spool ready, or none', async ({ target }) => {
            const spool = target.spool()
            if (spool !== undefined) expect(existsSync(spool)).toBe(true)
            const free = target.freeBytes()
            if (free !== undefined) expect(free).toBeGreaterThan(0)
        })
    })
}

export async function faultOf(work: Promise<unknown>): Promise<Fault> {
    try {
        await work
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error('expected a fault')
}

/** Bytes that differ everywhere, so that a piece in the wrong place is noticed. */
export function pattern(length: number): Buffer {
    const words = new Uint32Array(Math.ceil(length / 4))
    for (let index = 0; index < words.length; index++) words[index] = Math.imul(index + 1, 2654435761)
    return Buffer.from(words.buffer, 0, length)
}
