/** Files of the cluster file system go back by content alone, and not at all without quorum. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { putPmxcfsBack } from '../../src/guard/pmxcfs.ts'
import { OsError } from '../../src/host/libc.ts'
import { type PlaceCalls, placeCalls, PlaceTree } from '../../src/host/place.ts'
import { saveBefore } from '../../src/host/snapshot.ts'

let root: string
let own: PlaceTree
beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'proxsave-pmxcfs-'))
    mkdirSync(join(root, 'live/etc/pve/firewall'), { recursive: true })
    mkdirSync(join(root, 'own'))
    own = new PlaceTree(join(root, 'own'))
})
afterEach(() => {
    own.close()
    rmSync(root, { recursive: true })
})

const file = (name: string) => join(root, 'live/etc/pve/firewall', name)
const paths = ['cluster.fw', '100.fw', 'new.fw'].map(name => `etc/pve/firewall/${name}`)
const deny = (code: 'EPERM' | 'EACCES' | 'EINVAL' | 'ENOTSUP') => () => {
    throw new OsError('call', constants.errno[code], 'etc/pve')
}
/** What pmxcfs refuses, whoever asks. */
const unlike: PlaceCalls = {
    ...placeCalls,
    chownFd: deny('EPERM'),
    chmodFd: deny('EPERM'),
    chown: deny('EPERM'),
    chmod: deny('EPERM'),
    setXattr: deny('ENOTSUP'),
    removeXattr: deny('ENOTSUP'),
    setTimes: deny('EACCES'),
    link: deny('EPERM'),
    symlink: deny('EPERM'),
    exchange: deny('EINVAL'),
}

async function changed(calls: PlaceCalls) {
    writeFileSync(file('cluster.fw'), 'enable: 1\n')
    writeFileSync(file('100.fw'), 'old\n')
    const live = new PlaceTree(join(root, 'live'), calls)
    const snapshot = await saveBefore(paths, live, own, 'snapshot')
    writeFileSync(file('cluster.fw'), 'enable: 0\n')
    rmSync(file('100.fw'))
    writeFileSync(file('new.fw'), 'new\n')
    return { live, snapshot }
}

test('content returns, what came goes, nothing else is asked of it', async () => {
    const { live, snapshot } = await changed(unlike)
    expect(putPmxcfsBack(snapshot.paths, live, snapshot, () => {})).toEqual([])
    expect(putPmxcfsBack(snapshot.paths, live, snapshot, () => {})).toEqual([])
    live.close()
    expect(readdirSync(join(root, 'live/etc/pve/firewall')).sort()).toEqual(['100.fw', 'cluster.fw'])
    expect(readFileSync(file('cluster.fw'), 'utf8')).toBe('enable: 1\n')
    expect(readFileSync(file('100.fw'), 'utf8')).toBe('old\n')
})

test('without quorum everything stays, and is told', async () => {
    const { live, snapshot } = await changed({
        ...unlike,
        create: deny('EACCES'),
        unlink: deny('EACCES'),
        rename: deny('EACCES'),
    })
    const problems = putPmxcfsBack(snapshot.paths, live, snapshot, () => {})
    live.close()
    expect(problems).toEqual([...paths].sort().map(path => `/${path}: this node has no quorum`))
    expect(readFileSync(file('cluster.fw'), 'utf8')).toBe('enable: 0\n')
})
