import { describe, expect, test } from 'bun:test'
import { identityFrom } from '../../src/format/age-keys.ts'
import {
    renderSheetHtml,
    renderSheetText,
    type SheetData,
    sheetSecrets,
    sheetSteps,
} from '../../src/keys/sheet.ts'

const secret = 'AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SXWZ7PW'
const data: SheetData = {
    hostName: 'pve1.example <b>&"\'',
    hostId: '0123456789abcdefghjkmnpqrs',
    printedMs: Date.UTC(2026, 10, 20, 2, 30),
    recipients: [{ recipient: 'age1recipient', comment: '</code><script>alert(1)</script>\u001b[2J' }],
    secrets: [secret],
    protectedIdentity: false,
    signing: { publicKey: 'ssh-ed25519 AAAAkey', fingerprint: 'SHA256:finger+print/' },
}
const byHand =
    "tar xOf FILE data.tar.zst.age | age -d -i identity.txt | zstd -d | tar x -p --same-owner --numeric-owner --acls --xattrs --xattrs-include='*' -C DIR"

describe('both sheets', () => {
    test('say where the identity is when it is not on them', () => {
        const without = { ...data, secrets: [] }
        const here = { ...without, identityFile: '/etc/proxsave/identity.txt' }
        expect(renderSheetText(here, { colour: false })).toContain('/etc/proxsave/identity.txt of this host')
        expect(renderSheetHtml(here)).toContain('/etc/proxsave/identity.txt of this host')
        expect(renderSheetText(without, { colour: false })).toContain('kept elsewhere')
    })

    test('tell everything that a person needs', () => {
        const html = renderSheetHtml(data)
            .replaceAll('&#39;', "'")
            .replaceAll('&gt;', '>')
            .replaceAll('&lt;', '<')
        for (const sheet of [
            renderSheetText(data, { colour: false }),
            renderSheetText(data, { colour: true }),
            html,
        ]) {
            for (const part of [
                secret,
                byHand,
                data.hostId,
                'age1recipient',
                'SHA256:finger+print/',
                "echo 'proxsave ssh-ed25519 AAAAkey' > signers",
                'ssh-keygen -Y verify -f signers -I proxsave -n proxsave',
                `proxsavectl setup --adopt ${data.hostId}`,
                '2026-11-20 02:30 UTC',
                'SECRET',
            ])
                expect(sheet).toContain(part)
        }
    })

    test('have no secret unless it is given', () => {
        const without = { ...data, secrets: [] }
        for (const sheet of [renderSheetText(without, { colour: true }), renderSheetHtml(without)]) {
            expect(sheet).not.toContain('AGE-SECRET-KEY-1Q')
            expect(sheet).toContain('kept elsewhere')
        }
    })

    test('tell the way with the passphrase when the identity travels in the archive', () => {
        const sheet = renderSheetText({ ...data, secrets: [], protectedIdentity: true }, { colour: false })
        expect(sheet).toContain('tar xOf FILE identity.age > identity.age')
        expect(sheet).toContain('age -d -i identity.age | zstd')
        expect(sheet).not.toContain('identity.txt')
    })
})

test('the page escapes, loads nothing and runs nothing', () => {
    const html = renderSheetHtml(data)
    expect(html).not.toContain('<script')
    expect(html).not.toContain('<b>')
    expect(html).toContain('pve1.example &lt;b&gt;&amp;&quot;&#39;')
    expect(html).toContain("default-src 'none'")
    expect(html).not.toMatch(/\s(src|href|action)=|url\(|@import|https?:\/\/(?!www\.w3\.org)/)
    expect(html.match(/<svg/g)?.length).toBe(1)
    expect(html.match(/<svg[^>]*>[\s\S]*<path/)).not.toBeNull()
})

test('the text keeps control characters from the terminal, and has a code only where it may', () => {
    const text = renderSheetText(data, { colour: false })
    expect(text).not.toContain('\u001b')
    expect(text).toContain('█')
    expect(renderSheetText(data, { colour: true })).toContain('\u001b[')
    expect(renderSheetText(data, { colour: false, qr: false })).not.toContain('█')
})

test('another key gives another code', () => {
    const code = (html: string) => html.slice(html.indexOf('<svg'), html.indexOf('</svg>'))
    const other = { ...data, secrets: [`${secret.slice(0, -1)}Q`] }
    expect(code(renderSheetHtml(data))).not.toBe(code(renderSheetHtml(other)))
})

test('a shell can read every command', () => {
    const commands = sheetSteps(data).flatMap(step => step.commands)
    const child = Bun.spawnSync(['bash', '-n'], { stdin: Buffer.from(commands.join('\n')) })
    expect(child.exitCode).toBe(0)
})

test('of an identity file only the keys are printed', () => {
    const key = identityFrom(new Uint8Array(32).fill(6))
    expect(sheetSecrets(`# created: today\n${key}\n`)).toEqual([key])
})
