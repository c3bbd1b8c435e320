/** What the real checkers of Debian 12 and 13 said, as they were run on files of each kind. */

export interface Recorded {
    what: string
    status: number
    output: string
    /** What preflight has to make of it. */
    good: boolean
}

/** ifupdown2 3.0.0: `ifreload --syntax-check -a`. */
export const ifreloadChecks: readonly Recorded[] = [
    { what: 'a good file', status: 0, output: '', good: true },
    {
        what: 'a bridge that is not there yet',
        status: 0,
        output: 'warning: eth0: interface not recognized - please check interface configuration\nwarning: vmbr0: interface not recognized - please check interface configuration',
        good: true,
    },
    {
        what: 'a bond without slaves, and a missing tool',
        status: 0,
        output: "warning: /sbin/brctl: missing - bridge operation may not work as expected. Please check if 'bridge-utils' package is installed\nwarning: none: interface not recognized - please check interface configuration",
        good: true,
    },
    {
        what: 'an option without a value',
        status: 1,
        output: "error: /etc/network/interfaces: line11: iface vmbr0: invalid syntax 'bridge-stp'",
        good: false,
    },
    {
        what: 'a line that belongs nowhere',
        status: 1,
        output: "error: /etc/network/interfaces: line1: error processing line 'garbage here'",
        good: false,
    },
    {
        what: 'an unknown family',
        status: 1,
        output: "error: /etc/network/interfaces: line8: iface vmbr0: unsupported address family 'inte'",
        good: false,
    },
    {
        what: 'an address that is none',
        status: 1,
        output: "warning: vmbr0: address: invalid value \"192.0.2.300/24\": valid attribute values: ['<ipv4/prefixlen>', '<ipv6/prefixlen>']",
        good: false,
    },
    {
        what: 'a sourced file that is missing',
        status: 1,
        output: 'warning: /etc/network/interfaces: line16: cannot find source file /etc/network/missing-file',
        good: false,
    },
    {
        what: 'the mtu of a bridge, which is only advice',
        status: 1,
        output: 'warning: vmbr0: bridge inherits mtu from its ports. There is no need to assign mtu on a bridge',
        good: true,
    },
    {
        what: 'an iface without a name',
        status: 1,
        output: 'error: main exception: list index out of range',
        good: false,
    },
    {
        what: 'another one that runs',
        status: 89,
        output: 'error: Another instance of this program is already running.',
        good: false,
    },
]

/** ifupdown2 3.0.0: `ifup -n -a`. */
export const ifup2DryRuns: readonly Recorded[] = [
    { what: 'a good file', status: 0, output: '', good: true },
    {
        what: 'a good file with a bridge, which the dry run fails at',
        status: 1,
        output: "error: NetlinkListenerWithCache.link_set_bridge_info_data_dry_run() missing 1 required positional argument: 'link_just_created'",
        good: true,
    },
    {
        what: 'a bond without slaves',
        status: 0,
        output: 'error: bond0: skipping slave none, does not exist',
        good: true,
    },
    {
        what: 'an option without a value, behind the fault of the bridge',
        status: 1,
        output: "error: /etc/network/interfaces: line11: iface vmbr0: invalid syntax 'bridge-stp'\nerror: NetlinkListenerWithCache.link_set_bridge_info_data_dry_run() missing 1 required positional argument: 'link_just_created'",
        good: false,
    },
    {
        what: 'an iface without a name',
        status: 1,
        output: 'error: main exception: list index out of range',
        good: false,
    },
    {
        what: 'another one that runs',
        status: 89,
        output: 'error: Another instance of this program is already running.',
        good: false,
    },
]

/** ifupdown 0.8.44: `ifup -n -a`. */
export const ifupDryRuns: readonly Recorded[] = [
    {
        what: 'a good file',
        status: 0,
        output: 'run-parts --exit-on-error /etc/network/if-pre-up.d\nip link set dev eth0 up 2>/dev/null || true\nip addr add 192.0.2.10/255.255.255.0 broadcast 192.0.2.255 \t  dev vmbr0 label vmbr0\n ip route add default via 192.0.2.1  dev vmbr0 onlink ',
        good: true,
    },
    {
        what: 'an option without a value',
        status: 1,
        output: 'ifup: /etc/network/interfaces:12: option with empty value\nifup: couldn\'t read interfaces file "/etc/network/interfaces"',
        good: false,
    },
    {
        what: 'an unknown method',
        status: 1,
        output: 'ifup: /etc/network/interfaces:8: unknown or no method and no inherits keyword specified\nifup: couldn\'t read interfaces file "/etc/network/interfaces"',
        good: false,
    },
]

/** `netplan get` of Debian 13, which ends with 0 whatever it met, and of Debian 12, which ends with 1 and where it was called. */
export const netplanGets: readonly Recorded[] = [
    { what: 'a good file', status: 0, output: 'network:\n  version: 2\n  ethernets:\n    eth0:', good: true },
    {
        what: 'a file that others may read',
        status: 0,
        output: '\n** (process:7): WARNING **: 16:03:28.320: Permissions for /etc/netplan/a.yaml are too open. Netplan configuration should NOT be accessible by others.',
        good: true,
    },
    {
        what: 'an address that is none',
        status: 0,
        output: "Command failed: /etc/netplan/b.yaml:5:18: Error in network definition: malformed address '192.0.2.300/24', must be X.X.X.X/NN or X:X:X:X:X:X:X:X/NN\n      addresses: [192.0.2.300/24]",
        good: false,
    },
    {
        what: 'no YAML',
        status: 0,
        output: 'Command failed: /etc/netplan/b.yaml:2:3: Invalid YAML: did not find expected key:\n  : :[',
        good: false,
    },
    {
        what: 'an address that is none, in Debian 12',
        status: 1,
        output: "Traceback (most recent call last):\n    netplan.main()\nnetplan.libnetplan.LibNetplanException: /etc/netplan/b.yaml:5:18: Error in network definition: malformed address '192.0.2.300/24', must be X.X.X.X/NN or X:X:X:X:X:X:X:X/NN\n                 ^",
        good: false,
    },
    {
        what: 'no YAML, in Debian 12',
        status: 1,
        output: 'Traceback (most recent call last):\n    netplan.main()\nnetplan.libnetplan.LibNetplanException: /etc/netplan/b.yaml:2:3: Invalid YAML: did not find expected key:\n  ^',
        good: false,
    },
]

/** OpenSSH 9.2 and 10.0: `sshd -t`. */
export const sshdTests: readonly Recorded[] = [
    { what: 'a good configuration', status: 0, output: '', good: true },
    {
        what: 'an option of long ago',
        status: 0,
        output: '/etc/ssh/sshd_config.d/a.conf line 1: Deprecated option UsePrivilegeSeparation',
        good: true,
    },
    {
        what: 'an option that it does not know',
        status: 255,
        output: '/etc/ssh/sshd_config.d/a.conf: line 1: Bad configuration option: PermitRootLogn\n/etc/ssh/sshd_config.d/a.conf: terminating, 1 bad configuration options',
        good: false,
    },
    {
        what: 'a key that others may read, which it leaves out',
        status: 0,
        output: "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\nPermissions 0644 for '/etc/ssh/ssh_host_ed25519_key' are too open.\nThis private key will be ignored.",
        good: false,
    },
    {
        what: 'two halves of different keys',
        status: 0,
        output: 'Public key for /etc/ssh/ssh_host_rsa_key does not match private key',
        good: false,
    },
    { what: 'no key left', status: 1, output: 'sshd: no hostkeys available -- exiting.', good: false },
    {
        what: 'no room',
        status: 255,
        output: 'Missing privilege separation directory: /run/sshd',
        good: false,
    },
]

/** nft 1.0.6 and 1.1.3: `nft -c -f`. */
export const nftChecks: readonly Recorded[] = [
    { what: 'a good file', status: 0, output: '', good: true },
    {
        what: 'a mistake',
        status: 1,
        output: '/root/n2.conf:4:69-73: Error: syntax error, unexpected string\n  chain input { type filter hook input priority 0; policy drop; tcp dprot 22 accept; }',
        good: false,
    },
]

/** sudo 1.9: `visudo -c`. */
export const visudoChecks: readonly Recorded[] = [
    {
        what: 'good files',
        status: 0,
        output: '/etc/sudoers: parsed OK\n/etc/sudoers.d/README: parsed OK',
        good: true,
    },
    {
        what: 'a mistake',
        status: 1,
        output: '/etc/sudoers.d/x:1:12: syntax error\nx ALL=(ALL ALL',
        good: false,
    },
    {
        what: 'a file that others may write',
        status: 1,
        output: '/etc/sudoers: parsed OK\n/etc/sudoers.d/x: bad permissions, should be mode 0440',
        good: false,
    },
]
