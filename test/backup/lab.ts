/** A small host of its own for each test, and the operations called on it as a worker would. */
import { generateKeyPairSync } from 'node:crypto'
import {
    lstatSync,
    mkdirSync,
    mkdtempSync,
    readdirSync,
    readFileSync,
    readlinkSync,
    rmSync,
    statfsSync,
    writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { generateIdentity, identityToRecipient } from 'age-encryption'
import type { Json } from '../../src/engine/change.ts'
import { archiveExtract, type ExtractParams } from '../../src/backup/extract.ts'
import { archiveFiles } from '../../src/backup/files.ts'
import type { OperationIo } from '../../src/engine/operation.ts'
import { archiveVerify, type VerifyParams, type VerifyResult } from '../../src/backup/verify.ts'
import { type WriteParams, type WriteResult, writeArchive } from '../../src/backup/write.ts'
import type { Manifest } from '../../src/format/manifest.ts'
import { publicHalf } from '../../src/format/ssh-key.ts'
import type { Exec } from '../../src/host/exec.ts'

export const isRoot = process.getuid?.() === 0

export interface Recorded extends OperationIo {
    warnings: string[]
    items: Json[]
}

export function recorder(signal?: AbortSignal): Recorded {
    const warnings: string[] = []
    const items: Json[] = []
    return {
        warnings,
        items,
        progress() {},
        warn: text => void warnings.push(text),
        item: item => void items.push(item),
        signal,
    }
}

export interface Saved extends WriteResult {
    path: string
    warnings_: string[]
}

/** Where syncing costs nothing, when there is room: for tests of which the disk is no part. */
export function inMemory(): string {
    try {
        const { bavail, bsize } = statfsSync('/dev/shm')
        return bavail * bsize > 2 ** 30 ? '/dev/shm' : tmpdir()
    } catch {
        return tmpdir()
    }
}

export class Lab {
    readonly base: string
    readonly root: string
    readonly state: string
    identity = ''
    recipient = ''
    /** `ssh-ed25519 AAAA…` of the signing key. */
    readonly own: string
    #number = 0

    constructor(directory = tmpdir()) {
        this.base = mkdtempSync(join(directory, 'proxsave-lab-'))
        this.root = join(this.base, 'root')
        this.state = join(this.base, 'state')
        mkdirSync(this.root, { mode: 0o755 })
        mkdirSync(this.state, { mode: 0o700 })
        this.own = this.newKey('signing_key')
    }

    newKey(name: string): string {
        const { privateKey } = generateKeyPairSync('ed25519')
        writeFileSync(join(this.state, name), privateKey.export({ type: 'pkcs8', format: 'pem' }), {
            mode: 0o600,
        })
        return publicHalf(privateKey).text
    }

    async withIdentity(): Promise<this> {
        this.identity = await generateIdentity()
        this.recipient = await identityToRecipient(this.identity)
        writeFileSync(join(this.base, 'identity.txt'), `${this.identity}\n`, { mode: 0o600 })
        return this
    }

    /** A new path beside the host's tree. */
    place(name: string): string {
        return join(this.base, `${++this.#number}-${name}`)
    }

    file(path: string, content: string | Uint8Array = '', mode = 0o644): string {
        const whole = join(this.root, path)
        mkdirSync(dirname(whole), { recursive: true })
        writeFileSync(whole, content, { mode })
        return whole
    }

    params(change: Partial<WriteParams> = {}): WriteParams {
        const recipients = change.recipients ?? []
        return {
            root: this.root,
            state: this.state,
            output: this.place('backup.proxsave.tar'),
            manifest: manifest(recipients),
            categories: 'all',
            exclude: [],
            include: ['/tree'],
            capture: false,
            cache: false,
            ...change,
            recipients,
        }
    }

    async save(
        change: Partial<WriteParams> = {},
        more: { exec?: Exec; now?: () => number } = {},
    ): Promise<Saved> {
        const io = recorder()
        const params = this.params(change)
        const result = await writeArchive(params, io, more.exec, more.now)
        return { ...(result as unknown as WriteResult), path: params.output, warnings_: io.warnings }
    }

    async verify(path: string, change: Partial<VerifyParams> = {}): Promise<VerifyResult> {
        const params: VerifyParams = {
            path,
            deep: true,
            identities: this.identities(),
            trust: { own: this.own },
            scratch: join(this.state, 'scratch'),
            ...change,
        }
        return (await archiveVerify(params, recorder())) as unknown as VerifyResult
    }

    identities(): { texts: string[] } | undefined {
        return this.identity === '' ? undefined : { texts: [this.identity] }
    }

    async extract(path: string, change: Partial<ExtractParams> = {}): Promise<string> {
        const output = change.output ?? this.place('out')
        await archiveExtract(
            { path, identities: this.identities(), output, paths: [], ...change },
            recorder(),
        )
        return output
    }

    async files(path: string): Promise<Record<string, Json>[]> {
        const io = recorder()
        await archiveFiles({ path, identities: this.identities() }, io)
        return io.items as Record<string, Json>[]
    }

    remove(): void {
        rmSync(this.base, { recursive: true, force: true })
    }
}

export function manifest(recipients: string[]): WriteParams['manifest'] {
    return {
        format: 'proxsave/1',
        id: '0123456789ab',
        created: '2026-01-02T03:04:05Z',
        sequence: 1,
        host: { id: 'c0ffee', name: 'pve1' },
        product: { kind: 'pve' },
        cluster: 'standalone',
        tool: 'proxsave 0.1.0',
        reason: 'test',
        encryption: { kind: recipients.length > 0 ? 'age' : 'none', recipients },
    }
}

/** The manifest of an archive as any tool reads it: the second member of a plain tar. */
export function manifestOf(path: string): Manifest {
    const bytes = readFileSync(path)
    const at = bytes.indexOf('manifest.json\0')
    return JSON.parse(bytes.subarray(at + 512, at + 512 + 256 * 1024).toString()) as Manifest
}

/** What a reader of the manifest is told about a path. */
export function missingIn(path: string): Record<string, string> {
    const found: Record<string, string> = {}
    for (const { missing } of manifestOf(path).categories)
        for (const one of missing ?? [])
            if (one.state !== 'absent') found[one.path] = `${one.state}: ${one.why ?? ''}`
    return found
}

export async function run(argv: string[], input?: Uint8Array): Promise<string> {
    const child = Bun.spawn(argv, {
        stdin: input ?? 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
        timeout: 30_000,
    })
    const [out, err] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
    ])
    if ((await child.exited) !== 0) throw new Error(`${argv.join(' ')}: ${err}`)
    return out + err
}

/** Runs a command line of the README with its three words replaced. */
export function byHand(line: string, words: Record<string, string>): Promise<string> {
    const command = Object.entries(words).reduce(
        (text, [word, value]) => text.replaceAll(new RegExp(`\\b${word}\\b`, 'g'), `'${value}'`),
        line,
    )
    return run(['bash', '-o', 'pipefail', '-c', command])
}

const stamps = `
import os, sys
def show(path, name):
    s = os.lstat(path)
    # Nobody can read a link without making it younger.
    atime = 0 if os.path.islink(path) else s.st_atime_ns
    print(repr(name), s.st_ino, s.st_mode, s.st_nlink, s.st_size, atime, s.st_mtime_ns, s.st_ctime_ns)
def walk(path, name):
    show(path, name)
    if not os.path.isdir(path) or os.path.islink(path): return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME)
    try: names = sorted(os.fsencode(n) for n in os.listdir(fd))
    finally: os.close(fd)
    for n in names: walk(os.path.join(path, n), name + b'/' + n)
walk(os.fsencode(sys.argv[1]), b'')
`

/** Every time, inode and size of a tree, one line an entry, taken by other code and without leaving a trace either. */
export function stampsOf(directory: string): Promise<string> {
    return run(['python3', '-c', stamps, directory])
}

/** Every path below a directory, sorted, links not followed. */
export function namesBelow(directory: string, above = ''): string[] {
    return readdirSync(join(directory, above), { withFileTypes: true })
        .flatMap(({ name }) => {
            const path = join(above, name)
            return lstatSync(join(directory, path)).isDirectory()
                ? [path, ...namesBelow(directory, path)]
                : [path]
        })
        .sort()
}

/** What a tree of plain names holds, for comparing two of them quickly: all but extended attributes. */
export function glance(directory: string): Record<string, string> {
    const found: Record<string, string> = {}
    const firsts = new Map<bigint, string>()
    for (const name of namesBelow(directory)) {
        const stat = lstatSync(join(directory, name), { bigint: true })
        const first = stat.isDirectory() ? name : (firsts.get(stat.ino) ?? name)
        firsts.set(stat.ino, first)
        const link = stat.isSymbolicLink() ? readlinkSync(join(directory, name)) : ''
        const content = stat.isFile() ? Bun.hash(readFileSync(join(directory, name))) : ''
        const owner = isRoot ? `${stat.uid}:${stat.gid}` : ''
        found[name] =
            `${stat.mode} ${owner} ${stat.isFile() ? stat.size : ''} ${stat.mtimeNs} ${first} ${link} ${content}`
    }
    return found
}
