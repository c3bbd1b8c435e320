import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createPrivateKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import { isAllowedSigner, parseAllowedSigners, sign, verify } from '../../src/format/signature.ts'
import { ed25519PrivateKey, parseSshPrivateKey, publicHalf } from '../../src/format/ssh-key.ts'

const key = ed25519PrivateKey(new Uint8Array(32).fill(9))
const own = publicHalf(key)
const message = Buffer.from('{"format":"proxsave/1"}\n')

let dir: string
beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'proxsave-signature-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function fault(work: () => unknown): Fault {
    try {
        work()
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error('nothing was thrown')
}

test('tells who signed', () => {
    const signer = verify(message, sign(message, key))
    expect(signer.publicKey).toBe(own.text)
    expect(signer.fingerprint).toMatch(/^SHA256:[A-Za-z0-9+/]{43}$/)
})

test('the same message and key give the same signature', () => {
    expect(sign(message, key)).toBe(sign(message, key))
})

test('refuses an altered message as damage', () => {
    const found = fault(() => verify(Buffer.from('{"format":"proxsave/2"}\n'), sign(message, key)))
    expect(found.exitStatus).toBe(5)
    expect(found.message).toContain('altered')
})

test('refuses every altered or missing byte of the signature', () => {
    const lines = sign(message, key).trim().split('\n')
    const body = Buffer.from(lines.slice(1, -1).join(''), 'base64')
    const armor = (bytes: Uint8Array) =>
        [lines[0], Buffer.from(bytes).toString('base64'), lines.at(-1), ''].join('\n')
    expect(verify(message, armor(body)).publicKey).toBe(own.text)
    for (let at = 0; at < body.length; at++) {
        const altered = Buffer.from(body)
        altered[at]! ^= 0x01
        expect(fault(() => verify(message, armor(altered))).kind).toBe('damaged')
        expect(fault(() => verify(message, armor(body.subarray(0, at)))).kind).toBe('damaged')
    }
    expect(fault(() => verify(message, '')).kind).toBe('damaged')
    expect(fault(() => verify(message, 'x'.repeat(1_000_000))).message).toContain('too long')
})

describe('with ssh-keygen', () => {
    if (Bun.which('ssh-keygen') === null)
        return test('skipped', () => console.log('skip: ssh-keygen is absent'))

    function run(command: string[], input: Uint8Array): { status: number; text: string } {
        const child = Bun.spawnSync(command, { stdin: input, timeout: 10_000 })
        return { status: child.exitCode, text: `${child.stdout}${child.stderr}` }
    }

    test('it accepts ours, and refuses it for another message', () => {
        writeFileSync(join(dir, 'sig'), sign(message, key))
        writeFileSync(join(dir, 'allowed'), `host namespaces="proxsave" ${own.text}\n`)
        const command = [
            'ssh-keygen',
            '-Y',
            'verify',
            '-f',
            join(dir, 'allowed'),
            '-I',
            'host',
            '-n',
            'proxsave',
            '-s',
            join(dir, 'sig'),
        ]
        expect(run(command, message)).toMatchObject({ status: 0 })
        expect(run(command, Buffer.from('else')).status).not.toBe(0)
    })

    test('we accept its own, of both hashes, and refuse another namespace and another key type', () => {
        const path = join(dir, 'id')
        run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', path], Buffer.alloc(0))
        const made = parseSshPrivateKey(readFileSync(path, 'utf8'))
        for (const hash of ['sha512', 'sha256']) {
            const signed = run(
                ['ssh-keygen', '-q', '-Y', 'sign', '-f', path, '-n', 'proxsave', '-O', `hashalg=${hash}`],
                message,
            )
            expect(verify(message, signed.text.slice(signed.text.indexOf('-----BEGIN'))).publicKey).toBe(
                made.public.text,
            )
            if (hash === 'sha512') expect(signed.text).toContain(sign(message, made.key))
        }
        const other = run(['ssh-keygen', '-q', '-Y', 'sign', '-f', path, '-n', 'file'], message).text
        expect(fault(() => verify(message, other.slice(other.indexOf('-----BEGIN')))).message).toContain(
            'another purpose',
        )
        const rsa = join(dir, 'rsa')
        run(['ssh-keygen', '-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', rsa], Buffer.alloc(0))
        const byRsa = run(['ssh-keygen', '-q', '-Y', 'sign', '-f', rsa, '-n', 'proxsave'], message).text
        expect(fault(() => verify(message, byRsa.slice(byRsa.indexOf('-----BEGIN')))).message).toContain(
            'Ed25519',
        )
        expect(() => sign(message, createPrivateKey(pem(rsa)))).toThrow('only with Ed25519')
    })

    function pem(path: string): string {
        run(['ssh-keygen', '-q', '-p', '-N', '', '-P', '', '-m', 'PKCS8', '-f', path], Buffer.alloc(0))
        return readFileSync(path, 'utf8')
    }

    test('it agrees with us about who is allowed', () => {
        writeFileSync(join(dir, 'sig'), sign(message, key))
        const rsa = 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ=='
        for (const [line, allowed] of [
            [`host ${own.text}`, true],
            [`"host" ${own.text} a comment`, true],
            [`host,other namespaces="git,proxsave" ${own.text}`, true],
            [`host namespaces="prox*" ${own.text}`, true],
            [`host namespaces="git" ${own.text}`, false],
            [`host namespaces="*,!proxsave" ${own.text}`, false],
            [`host valid-after="20200101",valid-before="21000101000000Z" ${own.text}`, true],
            [`host valid-after="21000101Z" ${own.text}`, false],
            [`host valid-before="20200101" ${own.text}`, false],
            [`host cert-authority ${own.text}`, false],
            [`host ${publicHalf(ed25519PrivateKey(new Uint8Array(32))).text}`, false],
            [`# host ${own.text}`, false],
        ] as const) {
            writeFileSync(join(dir, 'allowed'), `${line}\n`)
            const { status } = run(
                [
                    'ssh-keygen',
                    '-Y',
                    'verify',
                    '-f',
                    join(dir, 'allowed'),
                    '-I',
                    'host',
                    '-n',
                    'proxsave',
                    '-s',
                    join(dir, 'sig'),
                ],
                message,
            )
            expect([line, status === 0]).toEqual([line, allowed])
            expect([line, isAllowedSigner(parseAllowedSigners(line), own.text, Date.now())]).toEqual([
                line,
                allowed,
            ])
        }
        expect(() => parseAllowedSigners(`host ${rsa}`)).not.toThrow()
    })
})

test('a malformed line of allowed signers is an error with its number', () => {
    for (const [line, why] of [
        ['host', 'key type'],
        ['host ssh-ed25519', 'base64'],
        ['host ssh-ed25519 AAAA', 'too early'],
        [`host namespaces ${own.text}`, 'namespaces is unknown or malformed'],
        [`host no-such-option ${own.text}`, 'no-such-option'],
        [`host valid-after="yesterday" ${own.text}`, 'YYYYMMDD'],
        [`host valid-after="20260231" ${own.text}`, 'does not exist'],
        [own.text, 'principals'],
    ] as const) {
        const found = fault(() => parseAllowedSigners(`# one\n\n${line}\n`))
        expect(found.message).toStartWith('cannot read allowed_signers: line 3: ')
        expect(found.message).toContain(why)
    }
    expect(parseAllowedSigners('')).toEqual([])
    expect(parseAllowedSigners(`a,b namespaces="x,y" ${own.text} the note`)).toEqual([
        { principals: ['a', 'b'], options: { namespaces: ['x', 'y'] }, key: own.text, comment: 'the note' },
    ])
})
