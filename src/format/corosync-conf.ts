/** What corosync.conf says of a cluster: its name, its version, and where its members are reached. */

export interface CorosyncNode {
    name: string
    /** Of all links. */
    addresses: string[]
}

export interface CorosyncConf {
    cluster: string | undefined
    /** pmxcfs keeps the local copy when that has the higher one. */
    version: number
    nodes: CorosyncNode[]
}

/** Never throws: a file that says less than it should names fewer nodes. */
export function parseCorosyncConf(text: string): CorosyncConf {
    const conf: CorosyncConf = { cluster: undefined, version: 0, nodes: [] }
    const sections: string[] = []
    let node: CorosyncNode | undefined
    for (const raw of text.split('\n')) {
        const line = raw.trim()
        if (line === '' || line.startsWith('#')) continue
        const opened = /^(\S+?)\s*\{$/.exec(line)
        if (opened !== null) {
            sections.push(opened[1]!)
            if (sections.join('/') === 'nodelist/node') {
                node = { name: '', addresses: [] }
                conf.nodes.push(node)
            }
            continue
        }
        if (line === '}') {
            sections.pop()
            node = undefined
            continue
        }
        const [, key, value] = /^([^\s:]+)\s*:\s*(.*)$/.exec(line) ?? []
        if (key === undefined || value === undefined) continue
        const section = sections.join('/')
        if (section === 'totem' && key === 'cluster_name') conf.cluster = value
        if (section === 'totem' && key === 'config_version') conf.version = Number.parseInt(value, 10) || 0
        if (section !== 'nodelist/node' || node === undefined) continue
        if (key === 'name') node.name = value
        if (/^ring\d+_addr$/.test(key) && value !== '') node.addresses.push(value)
    }
    for (const one of conf.nodes) if (one.name === '') one.name = one.addresses[0] ?? '?'
    return conf
}
