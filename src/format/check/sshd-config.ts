/** Checks sshd_config: one option that sshd does not know or understand, and it does not start. */
import { lineFault, quote, trimSpace } from '../lines.ts'
import { byteText } from './text.ts'

const what = 'the configuration of sshd'

/** Options up to OpenSSH 10, Debian's among them, and old ones that sshd still passes over. */
const known = new Set(
    `acceptenv addressfamily afstokenpassing allowagentforwarding allowgroups allowstreamlocalforwarding allowtcpforwarding
    allowusers authenticationmethods authorizedkeyscommand authorizedkeyscommanduser authorizedkeysfile authorizedkeysfile2
    authorizedprincipalscommand authorizedprincipalscommanduser authorizedprincipalsfile banner casignaturealgorithms
    challengeresponseauthentication channeltimeout checkmail chrootdirectory ciphers clientalivecountmax clientaliveinterval
    compression debianbanner denygroups denyusers disableforwarding dsaauthentication exposeauthinfo fingerprinthash
    forcecommand gatewayports gssapiauthentication gssapicleanupcredentials gssapicleanupcreds gssapidelegatecredentials
    gssapienablek5users gssapikexalgorithms gssapikeyexchange gssapistorecredentialsonrekey gssapistrictacceptorcheck
    gssapiusesessioncredcache gssusesessionccache hostbasedacceptedalgorithms hostbasedacceptedkeytypes
    hostbasedauthentication hostbasedusesnamefrompacketonly hostcertificate hostdsakey hostkey hostkeyagent
    hostkeyalgorithms ignorerhosts ignoreuserknownhosts include ipqos kbdinteractiveauthentication kerberosauthentication
    kerberosgetafstoken kerberosorlocalpasswd kerberostgtpassing kerberosticketcleanup kerberosuniqueccache
    kerberosusekuserok kexalgorithms keepalive keyregenerationinterval listenaddress logingracetime loglevel logverbose macs
    match maxauthtries maxsessions maxstartups modulifile pamauthenticationviakbdint passwordauthentication
    permitblacklistedkeys permitemptypasswords permitlisten permitopen permitrootlogin permittty permittunnel
    permituserenvironment permituserrc persourcemaxstartups persourcenetblocksize persourcepenalties
    persourcepenaltyexemptlist pidfile port printlastlog printmotd protocol pubkeyacceptedalgorithms
    pubkeyacceptedkeytypes pubkeyauthentication pubkeyauthoptions rdomain refuseconnection rekeylimit requiredrsasize
    reversemappingcheck revokedkeys rhostsauthentication rhostsrsaauthentication rsaauthentication rsaminsize
    securitykeyprovider serverkeybits setenv skeyauthentication sshdauthpath sshdsessionpath streamlocalbindmask
    streamlocalbindunlink strictmodes subsystem syslogfacility tcpkeepalive trustedusercakeys unusedconnectiontimeout
    usedns uselogin usepam useprivilegeseparation verifyreversemapping versionaddendum x11displayoffset x11forwarding
    x11uselocalhost xauthlocation`.split(/\s+/),
)

/** Options that are yes or no and nothing else. */
const flags = new Set(
    `allowagentforwarding challengeresponseauthentication disableforwarding exposeauthinfo gssapiauthentication
    gssapicleanupcredentials gssapikeyexchange gssapistorecredentialsonrekey gssapistrictacceptorcheck
    hostbasedauthentication hostbasedusesnamefrompacketonly ignoreuserknownhosts kbdinteractiveauthentication
    kerberosauthentication kerberosgetafstoken kerberosorlocalpasswd kerberosticketcleanup passwordauthentication
    permitemptypasswords permittty permituserrc printlastlog printmotd pubkeyauthentication streamlocalbindunlink
    strictmodes tcpkeepalive usedns usepam x11forwarding x11uselocalhost debianbanner`.split(/\s+/),
)
const rootLogin = /^(yes|no|without-password|prohibit-password|forced-commands-only)$/i

export function checkSshdConfig(bytes: Uint8Array, path: string): void {
    // Debian's own file includes *.conf from there and nothing else.
    if (/\/sshd_config\.d\//.test(path) && !/\/[^/.][^/]*\.conf$/.test(path)) return
    for (const [index, raw] of byteText(bytes).split('\n').entries()) {
        const line = trimSpace(raw)
        if (line === '' || line.startsWith('#')) continue
        checkOption(line, index + 1)
    }
}

function checkOption(line: string, number: number): void {
    const head = /^(?:"([^"]*)"|([^\s="]+))[ \t]*=?[ \t]*/.exec(line)
    const keyword = head?.[1] ?? head?.[2]
    if (head === null || keyword === undefined || !known.has(keyword.toLowerCase()))
        throw lineFault(what, number, `sshd knows no option ${quote(keyword ?? line)}`)
    const words = splitWords(line.slice(head[0].length))
    if (words === undefined)
        throw lineFault(what, number, `a quotation mark behind ${quote(keyword)} is never closed`)
    const [value] = words
    if (value === undefined) throw lineFault(what, number, `option ${quote(keyword)} has no value`)
    const option = keyword.toLowerCase()
    if (flags.has(option) && !/^(yes|no)$/i.test(value))
        throw lineFault(what, number, `option ${quote(keyword)} must be yes or no, not ${quote(value)}`)
    if (option === 'permitrootlogin' && !rootLogin.test(value))
        throw lineFault(what, number, `option ${quote(keyword)} cannot be ${quote(value)}`)
}

/** The values behind an option, up to a comment; undefined when a quotation mark is not closed. */
function splitWords(text: string): string[] | undefined {
    const words: string[] = []
    let at = 0
    for (;;) {
        while (text[at] === ' ' || text[at] === '\t') at++
        if (at >= text.length || text[at] === '#') return words
        let quoted = ''
        const from = at
        for (; at < text.length; at++) {
            const char = text[at]!
            if (char === '\\' && `"'\\${quoted === '' ? ' ' : ''}`.includes(text[at + 1] ?? '\0')) at++
            else if (quoted === '' && (char === ' ' || char === '\t')) break
            else if (quoted === '' && (char === '"' || char === "'")) quoted = char
            else if (char === quoted) quoted = ''
        }
        if (quoted !== '') return undefined
        words.push(text.slice(from, at).replace(/^(["'])(.*)\1$/, '$2'))
    }
}
