/** What of a file must not be shown on a terminal or in a log: whole files of keys, and values behind telling names. */

/** Files that hold nothing but secrets; sources: pve.md 1.2 and pbs.md 1.2, and Debian's own. Without a leading slash. */
const secretPaths: RegExp[] = [
    /^etc\/g?shadow-?$/,
    /^etc\/pve\/(.*\/)?priv\//,
    /^etc\/pve\/.*\.key$/,
    /^etc\/pve\/(domains|status)\.cfg$/,
    /^etc\/proxmox-backup\/(shadow\.json|token\.shadow|tfa\.json|ldap_passwords\.json|notifications-priv\.cfg|.*\.key|tape-encryption-keys\.json|encryption-keys\/.*|acme\/.*)$/,
    /^etc\/ssh\/ssh_host_.*_key$/,
    /(^|\/)\.ssh\/(?!authorized_keys|known_hosts|config|.*\.pub$)/,
    /^etc\/ssl\/private\//,
    /^etc\/corosync\/authkey$/,
    /^etc\/(luks-keys|cryptsetup-keys\.d|keys)\//,
    /^etc\/(wireguard|ipsec\.secrets|ppp\/(chap|pap)-secrets)/,
    /^etc\/apt\/auth\.conf/,
    /(^|\/)\.(bash_history|netrc|pgpass|my\.cnf|aws|config\/rclone|gnupg)(\/|$)/,
    /\.(pem|key|p12|pfx|kdbx|keyring)$/,
]

/** Whether nothing of a file's content is shown. */
export function isSecretPath(path: string): boolean {
    return secretPaths.some(pattern => pattern.test(path))
}

/** A name that says its value is a secret, then what separates them, then the value. */
const secretValue =
    /((?:^|[\s"'{,;&?_.-])(?:[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api-?key|access-?key|private-?key|client-?key|secret-?key|credentials|psk|cipassword|community))["']?\s*[:=\s]\s*)("[^"]*"|'[^']*'|[^\s,;&]+)/gi

/** One line with the values of telling names replaced; URLs lose the password between user and host. */
export function maskLine(line: string): string {
    return line.replace(secretValue, '$1********').replace(/(\/\/[^\s/:@]+:)[^\s/@]+@/g, '$1********@')
}
