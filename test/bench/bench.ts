/**
 * What proxsave costs, as ratios to `tar | zstd | age` doing the same work on the same tree in the same run.
 *
 *     npm run bench [-- --scale small|medium|large] [--pairs N]
 */
import { randomBytes } from 'node:crypto'
import {
    existsSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    rmSync,
    statSync,
    writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { loadSigningKey } from '../../src/keys/signing-key.ts'
import { alone, type Command, type Compared, compare } from './measure.ts'
import { measureDaemon } from './idle.ts'
import { makeTree } from './tree.ts'

const { values } = parseArgs({
    options: { scale: { type: 'string', default: 'medium' }, pairs: { type: 'string', default: '5' } },
})
const scale = values.scale as 'small' | 'medium' | 'large'
const pairs = Number(values.pairs)
const binary = resolve(import.meta.dir, '../../build/proxsave')
const work = mkdtempSync(join(tmpdir(), 'proxsave-bench-'))

/** Goals by row: wall ratio for small, medium, large. */
const goals: Record<string, [number, number, number]> = {
    'full backup': [0.9, 0.7, 0.62],
    'full backup, CPU': [0.95, 0.8, 0.78],
    "a day's changes": [0.5, 0.3, 0.28],
    'nothing changed': [0.45, 0.25, 0.22],
    'restore everything': [0.88, 0.72, 0.68],
    '50 chosen files': [0.75, 0.12, 0.06],
    'list the files': [0.35, 0.06, 0.02],
    'verify --deep': [1.4, 0.9, 0.95],
    'verify without a key': [0.3, 0.3, 0.3],
    'file size': [1, 1.01, 1.01],
    'peak memory, MiB': [80, 130, 200],
}
const column = { small: 0, medium: 1, large: 2 }[scale]

async function main(): Promise<void> {
    try {
        const tree = join(work, 'tree')
        const made = makeTree(tree, scale)
        console.log(
            `${made.what}: ${made.files} files, ${(made.bytes / 1e6).toFixed(0)} MB; ${pairs} pairs; load ${readFileSync('/proc/loadavg', 'latin1').slice(0, 14)}`,
        )
        await measureArchive(tree, made.mutate, made.pick())
        await measureProcesses()
    } finally {
        rmSync(work, { recursive: true, force: true })
    }
}

const show = (label: string, value: number, detail: string) => {
    const goal = goals[label]?.[column]
    const verdict = goal === undefined ? '' : value <= goal ? `goal ${goal}` : `goal ${goal}, MISSED`
    console.log(
        `${label.padEnd(24)} ${value.toFixed(value >= 10 ? 0 : 3).padStart(8)}   ${verdict.padEnd(20)} ${detail}`,
    )
}
const ratio = (label: string, { wall, cpu, wallMs, peakMiB }: Compared) =>
    show(label, wall, `cpu ${cpu.toFixed(2)}, ${wallMs.toFixed(0)} ms, peak ${peakMiB.toFixed(0)} MiB`)

async function measureArchive(tree: string, mutate: (seed: number) => void, picked: string[]): Promise<void> {
    const state = join(work, 'state')
    const ours = join(work, 'ours.proxsave.tar')
    const theirs = join(work, 'theirs.tar.zst.age')
    const out = join(work, 'out')
    mkdirSync(state, { mode: 0o700 })
    loadSigningKey(state, bytes => Uint8Array.from(randomBytes(bytes)))
    const identity = join(work, 'identity.txt')
    Bun.spawnSync(['age-keygen', '-o', identity])
    const text = readFileSync(identity, 'utf8')
    const recipient = /age1\w+/.exec(text)![0]
    const shell = (line: string, prepare?: () => void): Command => ({
        argv: ['bash', '-c', `set -o pipefail; ${line}`],
        prepare,
    })
    const worker = (operation: string, params: object, prepare?: () => void): Command => ({
        argv: [binary, 'worker'],
        input: JSON.stringify({ operation, params, state }),
        prepare,
    })

    const clearCache = () => rmSync(join(state, 'cache'), { recursive: true, force: true })
    const clearOurs = () => rmSync(ours, { force: true })
    const clearOut = () => {
        rmSync(out, { recursive: true, force: true })
        mkdirSync(out)
    }
    const write = {
        root: tree,
        state,
        output: ours,
        manifest: {
            format: 'proxsave/1',
            id: randomBytes(6).toString('hex'),
            created: new Date().toISOString(),
            sequence: 1,
            host: { id: 'bench', name: 'bench' },
            product: { kind: 'both' },
            cluster: 'standalone',
            tool: 'proxsave bench',
            reason: 'bench',
            encryption: { kind: 'age', recipients: [recipient] },
        },
        categories: 'all',
        exclude: [],
        // Everything, so that both save the same.
        include: readdirSync(tree).map(name => `/${name}`),
        recipients: [recipient],
        capture: false,
        cache: true,
    }
    const backup = (prepare?: () => void) =>
        worker('archive.write', write, () => {
            clearOurs()
            prepare?.()
        })
    const theirBackup = shell(
        `tar --xattrs --acls -C '${tree}' -cf - . 2>/dev/null | zstd -q -3 | age -r ${recipient} > '${theirs}'`,
        () => rmSync(theirs, { force: true }),
    )

    const full = await compare(backup(clearCache), theirBackup, pairs)
    ratio('full backup', full)
    show('full backup, CPU', full.cpu, '')
    show('peak memory, MiB', full.peakMiB, '')
    show('file size', statSync(ours).size / statSync(theirs).size, `${statSync(ours).size} bytes`)
    let seed = 100
    ratio(
        "a day's changes",
        await compare(
            backup(() => mutate(seed++)),
            theirBackup,
            pairs,
        ),
    )
    // A file that is younger than two seconds is read again, so that a coarse clock cannot hide a change.
    await Bun.sleep(2500)
    await compare(backup(), theirBackup, 1)
    ratio('nothing changed', await compare(backup(), theirBackup, pairs))

    const identities = { texts: [text] }
    const list = join(work, 'list')
    writeFileSync(list, picked.map(path => `./${path}\n`).join(''))
    const open = `age -d -i '${identity}' '${theirs}' | zstd -q -d`
    ratio(
        'restore everything',
        await compare(
            worker('archive.extract', { path: ours, identities, output: out, paths: [] }, clearOut),
            shell(`${open} | tar x -p --xattrs --acls --xattrs-include='*' -C '${out}'`, clearOut),
            pairs,
        ),
    )
    ratio(
        '50 chosen files',
        await compare(
            worker(
                'archive.extract',
                { path: ours, identities, output: out, paths: picked.map(path => `/${path}`) },
                clearOut,
            ),
            shell(`${open} | tar x -p --xattrs --acls -C '${out}' -T '${list}'`, clearOut),
            pairs,
        ),
    )
    ratio(
        'list the files',
        await compare(worker('archive.files', { path: ours, identities }), shell(`${open} | tar t`), pairs),
    )
    const readAll = shell(`${open} | tar xO > /dev/null`)
    ratio(
        'verify --deep',
        await compare(
            worker('archive.verify', { path: ours, identities, deep: true, trust: {} }),
            readAll,
            pairs,
        ),
    )
    ratio(
        'verify without a key',
        await compare(worker('archive.verify', { path: ours, deep: false, trust: {} }), readAll, pairs),
    )
}

async function measureProcesses(): Promise<void> {
    const version = await alone({ argv: [binary, '--version'] }, 15)
    const empty = await alone({ argv: ['/bin/true'] }, 15)
    console.log(
        `--version: ${(version.wallMs - empty.wallMs).toFixed(1)} ms above an empty process (goal 10)`,
    )
    await measureDaemon(binary, work)
    const deb = existsSync('dist') ? readdirSync('dist').find(name => name.endsWith('.deb')) : undefined
    if (deb !== undefined)
        console.log(`.deb: ${(statSync(`dist/${deb}`).size / 1e6).toFixed(1)} MB (goal 45)`)
}

await main()
