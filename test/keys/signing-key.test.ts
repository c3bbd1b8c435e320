import { afterEach, beforeEach, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sign, verify } from '../../src/format/signature.ts'
import { loadSigningKey, readSigningKey } from '../../src/keys/signing-key.ts'

const random = (bytes: number) => new Uint8Array(randomBytes(bytes))

let state: string
beforeEach(() => {
    state = mkdtempSync(join(tmpdir(), 'proxsave-signing-'))
})
afterEach(() => rmSync(state, { recursive: true, force: true }))

test('is made once, private, with its public half beside it', () => {
    expect(readSigningKey(state)).toBeUndefined()
    expect(readdirSync(state)).toEqual([])
    const made = loadSigningKey(state, random, 'proxsave@pve1')
    expect(statSync(join(state, 'signing_key')).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(state, 'signing_key.pub'), 'utf8')).toBe(`${made.publicKey} proxsave@pve1\n`)
    const again = loadSigningKey(state, random)
    expect(again.publicKey).toBe(made.publicKey)
    const message = Buffer.from('manifest')
    expect(verify(message, sign(message, again.key))).toEqual({
        publicKey: made.publicKey,
        fingerprint: made.fingerprint,
    })
})

test('writes a lost or foreign public half again', () => {
    const made = loadSigningKey(state, random)
    for (const content of [undefined, 'ssh-ed25519 AAAA other\n']) {
        if (content === undefined) rmSync(join(state, 'signing_key.pub'))
        else writeFileSync(join(state, 'signing_key.pub'), content)
        loadSigningKey(state, random)
        expect(readFileSync(join(state, 'signing_key.pub'), 'utf8')).toStartWith(`${made.publicKey} `)
    }
})

test('a damaged key is reported and kept, never replaced', () => {
    for (const content of ['', 'x', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n']) {
        writeFileSync(join(state, 'signing_key'), content)
        expect(() => loadSigningKey(state, random)).toThrow('not an Ed25519 key')
        expect(readFileSync(join(state, 'signing_key'), 'utf8')).toBe(content)
    }
})

test('ssh-keygen reads the public half', () => {
    if (Bun.which('ssh-keygen') === null) return console.log('skip: ssh-keygen is absent')
    const made = loadSigningKey(state, random)
    const shown = Bun.spawnSync(['ssh-keygen', '-l', '-f', join(state, 'signing_key.pub')]).stdout.toString()
    expect(shown).toContain(made.fingerprint)
})
