import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import {
    parseSshPrivateKey,
    parseSshPublicKey,
    publicHalf,
    sshFingerprint,
    sshKeyObject,
} from '../../src/format/ssh-key.ts'

let dir: string
beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'proxsave-ssh-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const hasKeygen = Bun.which('ssh-keygen') !== null
if (!hasKeygen) console.log('skip: ssh-keygen is absent')

function keygen(name: string, ...more: string[]): { secret: string; line: string; path: string } {
    const path = join(dir, name)
    const child = Bun.spawnSync(['ssh-keygen', '-q', '-C', 'who @ where', '-f', path, ...more], {
        timeout: 20_000,
    })
    if (child.exitCode !== 0) throw new Error(child.stderr.toString())
    return { path, secret: readFileSync(path, 'utf8'), line: readFileSync(`${path}.pub`, 'utf8') }
}

describe.skipIf(!hasKeygen)('keys of ssh-keygen', () => {
    for (const [name, ...more] of [
        ['ed25519', '-t', 'ed25519', '-N', ''],
        ['rsa', '-t', 'rsa', '-b', '2048', '-N', ''],
        ['rsa-pem', '-t', 'rsa', '-b', '2048', '-N', '', '-m', 'PEM'],
        ['rsa-pkcs8', '-t', 'rsa', '-b', '2048', '-N', '', '-m', 'PKCS8'],
    ] as const)
        test(`${name}: private and public half and fingerprint agree`, () => {
            const made = keygen(name, ...more)
            const key = parseSshPrivateKey(made.secret)
            const line = parseSshPublicKey(made.line)
            expect(key.public.text).toBe(line.text)
            expect(line.comment).toBe('who @ where')
            expect(sshKeyObject(line.blob).asymmetricKeyType).toBe(
                line.type === 'ssh-rsa' ? 'rsa' : 'ed25519',
            )
            expect(publicHalf(sshKeyObject(line.blob)).text).toBe(line.text)
            const shown = Bun.spawnSync(['ssh-keygen', '-l', '-f', `${made.path}.pub`]).stdout.toString()
            expect(shown.split(' ')[1]).toBe(sshFingerprint(line.blob))
        })

    for (const [name, ...more] of [
        ['locked-openssh', '-t', 'ed25519', '-N', 'hunter2'],
        ['locked-pem', '-t', 'rsa', '-b', '2048', '-N', 'hunter2', '-m', 'PEM'],
    ] as const)
        test(`${name}: a key with a passphrase is refused with a way out`, () => {
            const made = keygen(name, ...more)
            try {
                parseSshPrivateKey(made.secret)
                expect.unreachable()
            } catch (error) {
                expect((error as Fault).message).toContain('protected by a passphrase')
                expect((error as Fault).hint).toContain('ssh-keygen -p')
            }
        })

    test('the hint about the passphrase works as written', () => {
        const made = keygen('hinted', '-t', 'ed25519', '-N', 'hunter2')
        const copy = join(dir, 'copy')
        writeFileSync(copy, made.secret, { mode: 0o600 })
        const child = Bun.spawnSync(['ssh-keygen', '-p', '-P', 'hunter2', '-N', '', '-f', copy])
        expect(child.exitCode).toBe(0)
        expect(parseSshPrivateKey(readFileSync(copy, 'utf8')).public.text).toBe(
            parseSshPublicKey(made.line).text,
        )
    })

    test('other types are refused', () => {
        const made = keygen('ecdsa', '-t', 'ecdsa', '-N', '')
        expect(() => parseSshPublicKey(made.line)).toThrow('ecdsa-sha2-nistp256 cannot be used')
        expect(() => parseSshPrivateKey(made.secret)).toThrow('cannot be used')
    })

    test('no cut and no altered byte of a key gives anything but a fault or the same key', () => {
        const made = keygen('victim', '-t', 'ed25519', '-N', '')
        const whole = parseSshPrivateKey(made.secret).public.text
        const lines = made.secret.trim().split('\n')
        const body = Buffer.from(lines.slice(1, -1).join(''), 'base64')
        const armor = (bytes: Uint8Array) =>
            [lines[0], Buffer.from(bytes).toString('base64'), lines.at(-1), ''].join('\n')
        expect(parseSshPrivateKey(armor(body)).public.text).toBe(whole)
        for (let at = 0; at < body.length; at++) {
            const altered = Buffer.from(body)
            altered[at]! ^= 0x41
            for (const bytes of [altered, body.subarray(0, at)]) {
                try {
                    expect(parseSshPrivateKey(armor(bytes)).public.text).toBe(whole)
                } catch (error) {
                    if (!(error instanceof Fault)) throw error
                }
            }
        }
    })
})

test('an Ed25519 key in PKCS#8 is read, another curve is not', () => {
    const pair = generateKeyPairSync('ed25519')
    const text = pair.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
    expect(parseSshPrivateKey(text).public.text).toBe(publicHalf(pair.publicKey).text)
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const pem = other.export({ format: 'pem', type: 'pkcs8' }) as string
    expect(() => parseSshPrivateKey(pem)).toThrow('cannot be used')
})

test('a public key with a byte too many, or in two spellings of base64, is refused', () => {
    const { text, blob } = publicHalf(generateKeyPairSync('ed25519').publicKey)
    expect(parseSshPublicKey(text).blob).toEqual(blob)
    const longer = Buffer.concat([blob, Buffer.from([0])]).toString('base64')
    expect(() => parseSshPublicKey(`ssh-ed25519 ${longer}`)).toThrow('behind its end')
    expect(() => parseSshPublicKey(`${text}=`)).toThrow('base64')
    expect(() => parseSshPublicKey(text.replace('AAAA', 'AA AA'))).toThrow(Fault)
})
