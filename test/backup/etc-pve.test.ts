/** Files of /etc/pve come out of the saved database where the backup has nothing else of them. */
import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { makeClusterDatabase } from '../restore/cluster-db.ts'
import { Lab } from './lab.ts'

const lab = new Lab()
afterAll(() => lab.remove())

const database = join(lab.root, 'var/lib/pve-cluster/config.db')
mkdirSync(dirname(database), { recursive: true })
makeClusterDatabase(database, {
    'storage.cfg': 'dir: local\n',
    'priv/shadow.cfg': 'a:b:\n',
    'nodes/pve1/qemu-server/100.conf': 'name: mail\n',
})
lab.file('etc/hosts', '127.0.0.1 localhost\n')

test('a guest and a file of /etc, in one go', async () => {
    const saved = await lab.save()
    const out = await lab.extract(saved.path, { paths: ['/etc/pve/nodes/pve1/qemu-server', '/etc/hosts'] })
    expect(readFileSync(join(out, 'etc/pve/nodes/pve1/qemu-server/100.conf'), 'utf8')).toBe('name: mail\n')
    expect(readFileSync(join(out, 'etc/hosts'), 'utf8')).toContain('localhost')
    const secret = await lab.extract(saved.path, { paths: ['/etc/pve/priv'] })
    expect(statSync(join(secret, 'etc/pve/priv/shadow.cfg')).mode & 0o777).toBe(0o600)
})

test('what is not in it either is said so', async () => {
    const saved = await lab.save()
    await expect(lab.extract(saved.path, { paths: ['/etc/pve/nodes/pve9'] })).rejects.toThrow(
        'cannot extract /etc/pve/nodes/pve9: it is not in the cluster database',
    )
})

test('the files themselves win over the database', async () => {
    lab.file('etc/pve/storage.cfg', 'dir: as-file\n')
    const saved = await lab.save()
    const out = await lab.extract(saved.path, { paths: ['/etc/pve/storage.cfg'] })
    expect(readFileSync(join(out, 'etc/pve/storage.cfg'), 'utf8')).toBe('dir: as-file\n')
})
