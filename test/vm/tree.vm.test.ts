/** The comparer of the container tests has to see every kind of difference, or what it finds equal means nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { chmodSync, lutimesSync, mkdtempSync, rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeTree, differences, makeOdd, type Tree } from './tree.ts'

const root = process.getuid?.() === 0

describe.skipIf(!root)('the comparer of trees', () => {
    let dir: string
    let original: Tree

    beforeAll(async () => {
        dir = mkdtempSync(join(tmpdir(), 'proxsave-tree-'))
        await makeOdd(join(dir, 'odd'))
        original = await describeTree(join(dir, 'odd'))
    })
    afterAll(() => rmSync(dir, { recursive: true, force: true }))

    const copied = async (change: (copy: string) => void): Promise<string[]> => {
        const copy = join(dir, 'copy')
        rmSync(copy, { recursive: true, force: true })
        execFileSync('cp', ['-a', join(dir, 'odd'), copy])
        change(copy)
        return differences(original, await describeTree(copy))
    }

    test('finds nothing in a true copy', async () => {
        expect(await copied(() => {})).toEqual([])
    })

    test.each([
        ['content', (copy: string) => writeFileSync(join(copy, 'hard'), 'one file, TWO names..\n')],
        ['a mode', (copy: string) => chmodSync(join(copy, 'sticky'), 0o777)],
        ['an owner', (copy: string) => execFileSync('chown', ['12345:1', join(copy, "somebody's")])],
        [
            'a nanosecond',
            (copy: string) =>
                execFileSync('touch', ['-d', '2020-09-13T12:26:40.123456788Z', join(copy, 'attributes')]),
        ],
        ['the time of a link', (copy: string) => lutimesSync(join(copy, 'link'), 1, 1)],
        ['a missing file', (copy: string) => unlinkSync(join(copy, 'empty'))],
        ['a new file', (copy: string) => writeFileSync(join(copy, 'new'), '')],
        [
            'a broken hard link',
            (copy: string) =>
                execFileSync('cp', [
                    '--remove-destination',
                    '-p',
                    join(copy, 'hard'),
                    join(copy, 'hard too'),
                ]),
        ],
        [
            'a filled hole',
            (copy: string) =>
                execFileSync('cp', ['-p', '--sparse=never', join(dir, 'odd', 'hole'), join(copy, 'hole')]),
        ],
        ['a size', (copy: string) => truncateSync(join(copy, 'hole'), 1)],
        [
            'a lost attribute',
            (copy: string) =>
                execFileSync('python3', [
                    '-c',
                    'import os,sys; os.removexattr(sys.argv[1], "user.binary")',
                    join(copy, 'attributes'),
                ]),
        ],
        [
            'a lost capability',
            (copy: string) =>
                execFileSync('python3', [
                    '-c',
                    'import os,sys; os.removexattr(sys.argv[1], "security.capability")',
                    join(copy, 'capable'),
                ]),
        ],
    ] as [string, (copy: string) => void][])('sees %s', async (_, change) => {
        expect(await copied(change)).not.toEqual([])
    })
})
