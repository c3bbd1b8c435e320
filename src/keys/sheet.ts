/**
 * The recovery sheet: what a person needs on paper to open the archives when the host is gone. A pure function of data,
 * as text for a terminal and as one HTML page that loads nothing from anywhere.
 */
import { renderANSI, renderSVG, renderUnicodeCompact } from 'uqr'
import { parseIdentities } from '../format/age-keys.ts'

export interface SheetData {
    hostName: string
    hostId: string
    /** Milliseconds since the epoch. */
    printedMs: number
    recipients: { recipient: string; comment: string }[]
    /** `AGE-SECRET-KEY-1…` lines; empty when they are not on the host, or not to be printed. */
    secrets: string[]
    /** The identity file in the plain, when the host has one. */
    identityFile?: string
    /** The identity is protected by a passphrase and travels inside each archive. */
    protectedIdentity: boolean
    signing: { publicKey: string; fingerprint: string }
}

/** The lines of an identity file that belong on a sheet; SSH keys are kept where they are. */
export function sheetSecrets(identityText: string): string[] {
    return parseIdentities(identityText).flatMap(identity => ('secret' in identity ? [identity.secret] : []))
}

interface Step {
    title: string
    text?: string
    commands: string[]
}

/** What to do, in order; the same words on both sheets. */
export function sheetSteps(data: SheetData): Step[] {
    const passphraseOnly = data.protectedIdentity && data.secrets.length === 0
    const identity = passphraseOnly ? 'identity.age' : 'identity.txt'
    return [
        {
            title: passphraseOnly
                ? 'Take the protected identity out of the archive'
                : 'Write the identity into a file',
            text: passphraseOnly
                ? 'age asks for its passphrase in step 3.'
                : 'One line, AGE-SECRET-KEY-1…, from this sheet or from where you keep it.',
            commands: passphraseOnly
                ? ['tar xOf FILE identity.age > identity.age']
                : ['install -m 600 /dev/null identity.txt', 'nano identity.txt'],
        },
        {
            title: 'Check that this host signed the archive',
            commands: [
                'tar xOf FILE manifest.json > manifest.json',
                'tar xOf FILE manifest.json.sig > manifest.json.sig',
                `echo 'proxsave ${data.signing.publicKey}' > signers`,
                'ssh-keygen -Y verify -f signers -I proxsave -n proxsave -s manifest.json.sig < manifest.json',
                'tar xOf FILE data.tar.zst.age | sha256sum    # data.sha256 of manifest.json',
            ],
        },
        {
            title: 'Open it, into an empty directory, as root',
            text: 'With proxsave installed, `proxsavectl restore FILE` does all of this.',
            commands: [
                'mkdir DIR',
                `tar xOf FILE data.tar.zst.age | age -d -i ${identity} | zstd -d | tar x -p --same-owner --numeric-owner --acls --xattrs --xattrs-include='*' -C DIR`,
            ],
        },
        {
            title: 'After a reinstallation, take the archives over',
            text: 'The new machine then goes on where this one stopped.',
            commands: [`proxsavectl setup --adopt ${data.hostId}`],
        },
    ]
}

/** The sheet for a terminal. `colour` makes QR codes that scan on light and dark backgrounds alike. */
export function renderSheetText(data: SheetData, options: { colour: boolean; qr?: boolean }): string {
    const lines = [`Recovery sheet of ${plain(data.hostName)}`, `printed ${stamp(data.printedMs)}`, '']
    lines.push(`Host id        ${data.hostId}`, `Signing key    ${data.signing.fingerprint}`)
    lines.push(`               ${data.signing.publicKey}`, '', 'Archives are encrypted to')
    for (const { recipient, comment } of data.recipients)
        lines.push(`  ${recipient}${comment === '' ? '' : `   (${plain(comment)})`}`)
    lines.push('', ...secretWords(data), '')
    for (const secret of data.secrets) {
        lines.push(secret, '')
        if (options.qr !== false)
            lines.push(
                options.colour
                    ? renderANSI(secret, { border: 2 })
                    : renderUnicodeCompact(secret, { border: 2 }),
                '',
            )
    }
    for (const [index, step] of sheetSteps(data).entries()) {
        lines.push(`${index + 1}. ${step.title}`)
        if (step.text !== undefined) lines.push(`   ${step.text}`)
        lines.push(...step.commands.map(command => `     ${command}`), '')
    }
    lines.push('FILE is the archive, DIR a new directory. Needed: tar, age, zstd, openssh-client.', '')
    return lines.join('\n')
}

/** The sheet as a page to print: everything is in it, nothing is loaded, no script runs. */
export function renderSheetHtml(data: SheetData): string {
    const codes = data.secrets.map(
        secret =>
            `<figure>${renderSVG(secret, { border: 2, pixelSize: 6 })}<figcaption><code>${html(secret)}</code></figcaption></figure>`,
    )
    const recipients = data.recipients.map(
        ({ recipient, comment }) => `<li><code>${html(recipient)}</code> ${html(comment)}</li>`,
    )
    const steps = sheetSteps(data).map(
        step =>
            `<li><h2>${html(step.title)}</h2>${step.text === undefined ? '' : `<p>${html(step.text)}</p>`}` +
            `<pre>${step.commands.map(html).join('\n')}</pre></li>`,
    )
    return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>Recovery sheet of ${html(data.hostName)}</title>
<style>
body { font: 11pt/1.4 sans-serif; max-width: 45em; margin: 1.5em auto; padding: 0 1em; color: #000; background: #fff }
h1 { font-size: 1.5em; margin: 0 } h2 { font-size: 1em; margin: 0 }
code, pre { font: 9pt/1.5 monospace; overflow-wrap: anywhere; white-space: pre-wrap }
pre { background: #f3f3f3; padding: .5em; margin: .3em 0 1em }
dt { font-weight: bold } dd { margin: 0 0 .5em } .secret { border: 2px solid #000; padding: .5em 1em }
figure { margin: 1em 0; break-inside: avoid } figure svg { width: 55mm; height: 55mm; display: block }
li { break-inside: avoid } ol, ul { padding-left: 1.2em }
@page { margin: 15mm }
</style>
</head>
<body>
<h1>Recovery sheet of ${html(data.hostName)}</h1>
<p>printed ${stamp(data.printedMs)}</p>
<dl>
<dt>Host id</dt><dd><code>${html(data.hostId)}</code></dd>
<dt>Signing key</dt><dd><code>${html(data.signing.fingerprint)}</code><br><code>${html(data.signing.publicKey)}</code></dd>
<dt>Archives are encrypted to</dt><dd><ul>${recipients.join('')}</ul></dd>
</dl>
<section class="secret"><p>${secretWords(data).map(html).join(' ')}</p>${codes.join('')}</section>
<ol>${steps.join('')}</ol>
<p>FILE is the archive, DIR a new directory. Needed: tar, age, zstd, openssh-client.</p>
</body>
</html>
`
}

function secretWords(data: SheetData): string[] {
    if (data.secrets.length > 0)
        return [
            'SECRET: whoever has the line below can read every archive of this host.',
            'Keep the sheet where you keep other keys, and not on this host.',
        ]
    if (data.protectedIdentity)
        return [
            'The identity travels inside each archive, protected by its passphrase.',
            'Write the passphrase down elsewhere.',
        ]
    if (data.identityFile !== undefined)
        return [
            'The private identity is NOT on this sheet, and without it no archive opens: it is in',
            `${data.identityFile} of this host. proxsavectl keys sheet prints it at a terminal.`,
        ]
    return [
        'The private identity is not on this sheet: it is kept elsewhere, and without it no archive opens.',
    ]
}

function stamp(ms: number): string {
    return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

function html(text: string): string {
    return text
        .replaceAll('&', '&amp;')
        .replaceAll('<', '&lt;')
        .replaceAll('>', '&gt;')
        .replaceAll('"', '&quot;')
        .replaceAll("'", '&#39;')
}

/** A comment comes from a file: control characters in it must not reach the terminal. */
function plain(text: string): string {
    return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}
