/** Checks PEM: whole blocks, base64 in them, and DER inside that is as long as it says. */
import { isBlank, lineFault, quote, trimSpace } from '../lines.ts'
import { byteText } from './text.ts'

const what = 'a PEM file'

/** Labels whose content is one DER sequence; others (OpenSSH keys, EC parameters) are opaque here. */
const derLabels =
    /^((TRUSTED |X509 )?CERTIFICATE|X509 CRL|(NEW )?CERTIFICATE REQUEST|PKCS7|CMS|((RSA|EC|DSA|ENCRYPTED) )?PRIVATE KEY|(RSA )?PUBLIC KEY|DH PARAMETERS|DSA PARAMETERS)$/

interface Block {
    label: string
    line: number
    base64: string[]
    /** `Proc-Type` and the like: the content is encrypted. */
    headers: boolean
}

export function checkPem(bytes: Uint8Array): void {
    const lines = byteText(bytes).split('\n')
    let block: Block | undefined
    let blocks = 0
    for (const [index, raw] of lines.entries()) {
        const number = index + 1
        const boundary = /^-----(BEGIN|END) ([^\n]{1,64}?)-----[ \t\r]*$/.exec(raw)
        if (block === undefined) {
            // Anything may stand around the blocks: names, dates, whole dumps of certificates.
            if (boundary?.[1] === 'BEGIN')
                block = { label: boundary[2]!, line: number, base64: [], headers: false }
            else if (boundary !== null)
                throw lineFault(what, number, `${quote(boundary[2]!)} ends but never began`)
            continue
        }
        if (boundary !== null) {
            if (boundary[1] === 'BEGIN' || boundary[2] !== block.label)
                throw lineFault(
                    what,
                    number,
                    `the ${quote(block.label)} of line ${block.line} does not end before`,
                )
            checkContent(block)
            block = undefined
            blocks++
            continue
        }
        readLine(block, raw, number)
    }
    if (block !== undefined)
        throw lineFault(what, block.line, `the ${quote(block.label)} that begins here has no end`)
    if (blocks === 0) throw lineFault(what, 1, 'there is no certificate and no key in it')
}

function readLine(block: Block, raw: string, number: number): void {
    if (isBlank(raw)) return
    const text = trimSpace(raw)
    if (block.base64.length === 0 && (/^[A-Za-z0-9-]+:/.test(text) || block.headers) && text.includes(':')) {
        block.headers = true
        return
    }
    // A header may run on in the next line; what follows the headers begins behind a blank line, in base64.
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw lineFault(what, number, `${quote(text)} is not base64`)
    block.base64.push(text)
}

function checkContent({ label, line, base64, headers }: Block): void {
    const text = base64.join('')
    if (text === '' || text.length % 4 !== 0 || (text.indexOf('=') !== -1 && !/^[^=]*={1,2}$/.test(text)))
        throw lineFault(what, line, `the base64 of the ${quote(label)} that begins here is not whole`)
    if (headers || !derLabels.test(label)) return
    const der = Buffer.from(text, 'base64')
    const declared = derLength(der)
    // A trusted certificate has more behind the certificate.
    if (
        declared === undefined ||
        declared > der.length ||
        (declared < der.length && label !== 'TRUSTED CERTIFICATE')
    )
        throw lineFault(what, line, `the ${quote(label)} that begins here is not as long as it says`)
}

/** Bytes of the DER sequence at the start, its head included. */
function derLength(der: Buffer): number | undefined {
    const first = der[1]
    if (der[0] !== 0x30 || first === undefined) return undefined
    if (first < 0x80) return 2 + first
    const size = first & 0x7f
    if (size === 0 || size > 4 || der.length < 2 + size) return undefined
    return 2 + size + der.readUIntBE(2, size)
}
