import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import {
    AgeReader,
    AgeSealer,
    CHUNK,
    createHeader,
    identityFrom,
    mostHeaderBytes,
    openHeader,
    openProtectedIdentity,
    parseIdentities,
    parseRecipient,
    payloadKey,
    payloadSize,
    protectIdentity,
    readHeader,
    recipientOf,
    SEALED_CHUNK,
} from '../../src/format/age.ts'
import { openAead } from '../../src/host/libcrypto.ts'

const random = (bytes: number) => new Uint8Array(randomBytes(bytes))
const sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1]
const has = (tool: string) => Bun.which(tool) !== null

let dir: string
interface Pair {
    recipient: string
    identity: string
    path: string
}
const pairs = new Map<string, Pair>()

beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'proxsave-age-'))
    const secret = identityFrom(random(32))
    keep('x25519', await recipientOf(parseIdentities(secret)[0]!), `# made by a test\n${secret}\n`)
    if (!has('ssh-keygen')) return console.log('skip: ssh-keygen is absent, so are the SSH recipients')
    for (const [kind, more] of [
        ['ssh-ed25519', ['-t', 'ed25519']],
        ['ssh-rsa', ['-t', 'rsa', '-b', '2048']],
    ] as const) {
        const path = join(dir, `id-${kind}`)
        run(['ssh-keygen', '-q', '-N', '', '-C', 'a test', '-f', path, ...more])
        pairs.set(kind, {
            recipient: readFileSync(`${path}.pub`, 'utf8'),
            identity: readFileSync(path, 'utf8'),
            path,
        })
    }
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function keep(kind: string, recipient: string, identity: string): void {
    const path = join(dir, `id-${kind}`)
    writeFileSync(path, identity, { mode: 0o600 })
    pairs.set(kind, { recipient, identity, path })
}

function run(command: string[], input?: Uint8Array): Uint8Array {
    const child = Bun.spawnSync(command, { stdin: input ?? 'ignore', timeout: 20_000 })
    if (child.exitCode !== 0) throw new Error(`${command[0]}: ${child.stderr.toString()}`)
    return new Uint8Array(child.stdout)
}

function pattern(size: number): Uint8Array {
    return Uint8Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8) * 7) & 0xff)
}

async function encrypt(plain: Uint8Array, recipients: string[], piece = 50_000): Promise<Uint8Array> {
    const { header, fileKey } = await createHeader(recipients.map(parseRecipient), random)
    const nonce = random(16)
    const aead = openAead(payloadKey(fileKey, nonce))
    const parts: Uint8Array[] = [header]
    const sealer = new AgeSealer(aead, nonce, sealed => parts.push(sealed.slice()))
    for (let at = 0; at < plain.length; at += piece) sealer.push(plain.subarray(at, at + piece))
    const size = sealer.finish()
    aead.close()
    expect(size).toBe(payloadSize(plain.length))
    return new Uint8Array(Buffer.concat(parts))
}

function source(file: Uint8Array) {
    return {
        size: file.length,
        readAt: (offset: number, length: number) => file.subarray(offset, offset + length),
    }
}

async function reader(file: Uint8Array, identity: string): Promise<AgeReader> {
    const { headerLength } = readHeader(file.subarray(0, mostHeaderBytes))
    const fileKey = await openHeader(file, parseIdentities(identity))
    return new AgeReader(source(file), { headerLength, fileKey, openAead })
}

async function decrypt(file: Uint8Array, identity: string): Promise<Uint8Array> {
    const open = await reader(file, identity)
    const parts = [...open.stream()].map((view, at) => ({ at, bytes: view.slice() }))
    open.close()
    return new Uint8Array(Buffer.concat(parts.map(part => part.bytes)))
}

async function fault(work: () => Promise<unknown>): Promise<Fault> {
    try {
        await work()
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error('nothing was thrown')
}

const same = (left: Uint8Array, right: Uint8Array) => Buffer.compare(left, right) === 0

describe('with the age of the distribution', () => {
    if (!has('age')) return test('skipped', () => console.log('skip: age is absent'))

    for (const kind of ['x25519', 'ssh-ed25519', 'ssh-rsa'])
        for (const size of sizes)
            test(`${kind}, ${size} bytes: age opens ours, we open age's`, async () => {
                const pair = pairs.get(kind)
                if (pair === undefined) return console.log(`skip: no ${kind} key`)
                const plain = pattern(size)
                const ours = await encrypt(plain, [pair.recipient])
                expect(same(run(['age', '-d', '-i', pair.path], ours), plain)).toBe(true)
                expect(same(await decrypt(ours, pair.identity), plain)).toBe(true)
                const theirs = run(['age', '-r', pair.recipient.trim()], plain)
                expect(same(await decrypt(theirs, pair.identity), plain)).toBe(true)
            })

    test('every recipient of several opens the file', async () => {
        const plain = pattern(100_000)
        const file = await encrypt(
            plain,
            [...pairs.values()].map(pair => pair.recipient),
        )
        for (const { path, identity } of pairs.values()) {
            expect(same(run(['age', '-d', '-i', path], file), plain)).toBe(true)
            expect(same(await decrypt(file, identity), plain)).toBe(true)
        }
    })

    test('age refuses nothing of a large file with odd pieces', async () => {
        const { recipient, path } = pairs.get('x25519')!
        const plain = pattern(3_000_001)
        for (const piece of [1021, CHUNK, 262_144, 3_000_001]) {
            const file = await encrypt(plain, [recipient], piece)
            expect(same(run(['age', '-d', '-i', path], file), plain)).toBe(true)
        }
    })
})

describe('reading at any place', () => {
    test('gives the same bytes as the whole, for random stretches', async () => {
        const { recipient, identity } = pairs.get('x25519')!
        const plain = pattern(40 * CHUNK + 123)
        const open = await reader(await encrypt(plain, [recipient]), identity)
        expect(open.plainSize).toBe(plain.length)
        let seed = 42
        const next = (below: number) => {
            seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
            return seed % below
        }
        for (let n = 0; n < 200; n++) {
            const offset = next(plain.length)
            const length = next(Math.min(plain.length - offset, n % 10 === 0 ? 30 * CHUNK : 2 * CHUNK)) + 1
            if (!same(open.read(offset, length), plain.subarray(offset, offset + length)))
                throw new Error(`differs at ${offset}, ${length} bytes`)
        }
        expect(open.read(0, 0)).toEqual(new Uint8Array())
        expect(open.read(plain.length, 0)).toEqual(new Uint8Array())
        expect(() => open.read(plain.length, 1)).toThrow('cannot decrypt')
        expect(() => open.read(-1, 1)).toThrow('cannot decrypt')
        for (const [from, to] of [
            [0, 1],
            [CHUNK - 1, CHUNK + 1],
            [5, 39 * CHUNK],
            [CHUNK, plain.length],
        ] as const) {
            const parts = [...generate(open.stream(from, to))]
            expect(same(Buffer.concat(parts), plain.subarray(from, to))).toBe(true)
        }
        open.close()
    })

    function* generate(views: Generator<Uint8Array>) {
        for (const view of views) yield view.slice()
    }

    test('opens only the chunks that it needs, and none of them twice in a row', async () => {
        const { recipient, identity } = pairs.get('x25519')!
        const file = await encrypt(pattern(20 * CHUNK), [recipient])
        const fileKey = await openHeader(file, parseIdentities(identity))
        const { headerLength } = readHeader(file)
        let opened = 0
        const counting = (key: Uint8Array) => {
            const aead = openAead(key)
            return {
                seal: aead.seal.bind(aead),
                open(nonce: Uint8Array, sealed: Uint8Array, out: Uint8Array) {
                    opened++
                    return aead.open(nonce, sealed, out)
                },
                close: aead.close.bind(aead),
            }
        }
        const open = new AgeReader(source(file), { headerLength, fileKey, openAead: counting })
        opened = 0
        open.read(3 * CHUNK + 5, 10)
        expect(opened).toBe(1)
        open.read(3 * CHUNK + 100, 10)
        expect(opened).toBe(1)
        open.read(3 * CHUNK, 4 * CHUNK)
        expect(opened).toBe(4)
        open.read(20 * CHUNK - 1, 1)
        expect(opened).toBe(4)
        open.close()
    })
})

describe('damage', () => {
    let file: Uint8Array
    let identity: string
    let headerLength: number
    beforeAll(async () => {
        const pair = pairs.get('x25519')!
        identity = pair.identity
        file = await encrypt(pattern(3 * CHUNK + 1000), [pair.recipient])
        headerLength = readHeader(file).headerLength
    })

    const altered = (at: number) => {
        const copy = file.slice()
        copy[at]! ^= 1
        return copy
    }

    test('names the chunk and its place', async () => {
        const offset = headerLength + 16 + SEALED_CHUNK
        const found = await fault(() => decrypt(altered(offset + 77), identity))
        expect(found.kind).toBe('damaged')
        expect(found.facts).toEqual({ chunk: 1, offset })
        expect(found.message).toContain(`chunk 1, at byte ${offset}`)
        // Another chunk can still be read.
        const open = await reader(altered(offset + 77), identity)
        expect(same(open.read(0, CHUNK), pattern(CHUNK))).toBe(true)
        expect(() => open.read(CHUNK, 1)).toThrow('chunk 1')
        open.close()
    })

    for (const [what, at] of [
        ['the version', () => 3],
        ['a stanza argument', () => 40],
        ['the share', () => 50],
        ['the wrapped file key', () => headerLength - 60],
        ['the MAC of the header', () => headerLength - 10],
        ['the payload nonce', () => headerLength + 3],
        ['the tag of a chunk', () => headerLength + 16 + CHUNK + 2],
        ['the last byte', () => file.length - 1],
    ] as const)
        test(`refuses a file with ${what} altered`, async () => {
            const found = await fault(() => decrypt(altered(at()), identity))
            expect(found.kind).toBe('damaged')
            expect(found.message).toStartWith('cannot ')
        })

    test('refuses every cut, and says so where it lies between chunks', async () => {
        const begin = headerLength + 16
        for (const size of [
            10,
            headerLength - 1,
            headerLength,
            begin - 1,
            begin,
            begin + 15,
            begin + 16,
            begin + SEALED_CHUNK - 1,
            begin + SEALED_CHUNK,
            begin + 2 * SEALED_CHUNK,
            begin + 3 * SEALED_CHUNK,
            begin + 3 * SEALED_CHUNK + 15,
            begin + 3 * SEALED_CHUNK + 16,
            file.length - 1,
        ])
            expect((await fault(() => decrypt(file.slice(0, size), identity))).kind).toBe('damaged')
        const between = await fault(() => decrypt(file.slice(0, begin + 2 * SEALED_CHUNK), identity))
        expect(between.message).toContain('cut off behind chunk 1')
    })

    test('refuses what was appended, swapped or left out', async () => {
        const begin = headerLength + 16
        const chunk = (n: number) => file.subarray(begin + n * SEALED_CHUNK, begin + (n + 1) * SEALED_CHUNK)
        const head = file.subarray(0, begin)
        for (const parts of [
            [file, new Uint8Array(1)],
            [file, chunk(3)],
            [head, chunk(1), chunk(0), chunk(2), chunk(3)],
            [head, chunk(0), chunk(1), chunk(3)],
            [head, chunk(0), chunk(0), chunk(1), chunk(2), chunk(3)],
        ])
            expect((await fault(() => decrypt(new Uint8Array(Buffer.concat(parts)), identity))).kind).toBe(
                'damaged',
            )
    })

    test('refuses an empty last chunk behind a full one', async () => {
        const { header, fileKey } = await createHeader(
            [parseRecipient(pairs.get('x25519')!.recipient)],
            random,
        )
        const nonce = random(16)
        const aead = openAead(payloadKey(fileKey, nonce))
        const full = new Uint8Array(SEALED_CHUNK)
        const empty = new Uint8Array(16)
        aead.seal(new Uint8Array(12), new Uint8Array(CHUNK), full)
        aead.seal(new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]), new Uint8Array(0), empty)
        aead.close()
        const made = new Uint8Array(Buffer.concat([header, nonce, full, empty]))
        expect((await fault(() => decrypt(made, identity))).kind).toBe('damaged')
    })

    test('a source that ends early is reported, not read as zeros', async () => {
        const fileKey = await openHeader(file, parseIdentities(identity))
        const lying = {
            size: file.length,
            readAt: (at: number, length: number) => file.subarray(at, at + Math.min(length, 99)),
        }
        expect(() => new AgeReader(lying, { headerLength, fileKey, openAead })).toThrow('cut off')
    })

    test('another identity is a wrong key, exit status 5', async () => {
        const found = await fault(() => decrypt(file, identityFrom(random(32))))
        expect(found.exitStatus).toBe(5)
        expect(found.message).toContain('none of the identities fits')
        const rsa = pairs.get('ssh-rsa')
        if (rsa !== undefined)
            expect((await fault(() => decrypt(file, rsa.identity))).message).toContain('none of the')
    })

    test('what is no age file is said to be none', async () => {
        expect((await fault(() => decrypt(pattern(5000), identity))).message).toContain('not an age file')
        const endless = new Uint8Array(
            Buffer.from(`age-encryption.org/v1\n${'-> x y\n\n'.repeat(50_000)}--- x\n`),
        )
        expect((await fault(() => decrypt(endless, identity))).message).toContain('no end')
    })
})

test('the nonce counts on past 2^32 chunks', () => {
    const n = 0x1_0000_0001
    const fileKey = new Uint8Array(16).fill(1)
    const nonce = new Uint8Array(16).fill(2)
    const sealed = new Uint8Array(5 + 16)
    const aead = openAead(payloadKey(fileKey, nonce))
    aead.seal(new Uint8Array([0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1]), pattern(5), sealed)
    aead.close()
    const end = 100 + 16 + n * SEALED_CHUNK
    const huge = {
        size: end + sealed.length,
        readAt: (offset: number) => (offset === 100 ? nonce : offset === end ? sealed : new Uint8Array()),
    }
    const open = new AgeReader(huge, { headerLength: 100, fileKey, openAead })
    expect(open.plainSize).toBe(n * CHUNK + 5)
    expect(payloadSize(open.plainSize)).toBe(huge.size - 100)
    expect(open.read(n * CHUNK, 5)).toEqual(pattern(5))
    open.close()
})

test('encrypting to nobody is refused', async () => {
    expect((await fault(() => createHeader([], random))).message).toContain('no recipient')
})

describe('a protected identity', () => {
    const passphrase = 'correct horse: battery\u00e4'
    const text = `# a comment\n${identityFrom(new Uint8Array(32).fill(3))}\n`

    test('comes back with its passphrase only', async () => {
        const made = await protectIdentity(text, passphrase, random, 10)
        expect(await openProtectedIdentity(made, passphrase)).toBe(text)
        expect(Buffer.from(made).toString()).not.toContain('SECRET')
        const wrong = await fault(() => openProtectedIdentity(made, `${passphrase} `))
        expect(wrong.kind).toBe('damaged')
        expect(wrong.message).toBe('cannot open the protected identity: wrong passphrase')
        await fault(() => protectIdentity(text, '', random, 10))
    })

    test('is refused when it was altered, truncated, or is something else', async () => {
        const made = Buffer.from(await protectIdentity(text, passphrase, random, 10)).toString()
        const lines = made.split('\n')
        const body = Buffer.from(lines.slice(1, -2).join(''), 'base64')
        for (const at of [30, body.length - 40, body.length - 1]) {
            const copy = new Uint8Array(body)
            copy[at]! ^= 1
            expect((await fault(() => openProtectedIdentity(copy, passphrase))).kind).toBe('damaged')
        }
        expect((await fault(() => openProtectedIdentity(made.slice(0, 200), passphrase))).kind).toBe(
            'damaged',
        )
        expect((await fault(() => openProtectedIdentity(text, passphrase))).message).toContain(
            'not an age file',
        )
        const other = await encrypt(Buffer.from(text), [pairs.get('x25519')!.recipient])
        expect((await fault(() => openProtectedIdentity(other, passphrase))).message).toContain(
            'not protected',
        )
    })

    test('does not let a file ask for 16 GiB of memory', async () => {
        const made = Buffer.from(
            `age-encryption.org/v1\n-> scrypt ${'A'.repeat(22)} 24\n${'A'.repeat(43)}\n--- ${'A'.repeat(43)}\n${'x'.repeat(40)}`,
        )
        expect(
            (await fault(() => openProtectedIdentity(new Uint8Array(made), passphrase))).message,
        ).toContain('work factor')
    })

    test('age opens it, and we open what age -p protects', async () => {
        if (!has('age') || !has('python3')) return console.log('skip: age or python3 is absent')
        const sealed = join(dir, 'identity.age')
        const { recipient, identity } = pairs.get('x25519')!
        writeFileSync(sealed, await protectIdentity(identity, passphrase, random))
        const plain = pattern(1000)
        const file = join(dir, 'file.age')
        writeFileSync(file, await encrypt(plain, [recipient]))
        const out = join(dir, 'file.out')
        onTerminal(['age', '-d', '-i', sealed, '-o', out, file], passphrase)
        expect(same(readFileSync(out), plain)).toBe(true)

        const theirs = join(dir, 'theirs.age')
        onTerminal(['age', '-p', '-o', theirs, pairs.get('x25519')!.path], passphrase)
        expect(await openProtectedIdentity(readFileSync(theirs), passphrase)).toBe(identity)
        // The one that age made is binary, and the armored form of it opens as well.
        expect(readFileSync(theirs).toString('latin1')).toStartWith('age-encryption.org/v1')
    }, 30_000)
})

/** Runs a command on a terminal of its own that types the passphrase at every prompt. */
function onTerminal(command: string[], passphrase: string): void {
    const script = `
import os, pty, select, sys, time
secret = sys.stdin.readline().rstrip("\\n")
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen = b""
deadline = time.monotonic() + 20
while time.monotonic() < deadline:
    if not select.select([fd], [], [], 0.5)[0]: continue
    try: data = os.read(fd, 1024)
    except OSError: break
    if not data: break
    seen += data
    if seen.rstrip().endswith(b":"):
        seen = b""
        os.write(fd, secret.encode() + b"\\n")
else:
    os.kill(pid, 9)
_, status = os.waitpid(pid, 0)
sys.stderr.write(seen.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(status))
`
    const child = Bun.spawnSync(['python3', '-c', script, ...command], {
        stdin: Buffer.from(`${passphrase}\n`),
        timeout: 25_000,
    })
    if (child.exitCode !== 0) throw new Error(`${command.join(' ')}: ${child.stderr.toString()}`)
}
