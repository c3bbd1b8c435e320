/** Programs that live on without whoever started them. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { launch } from '../../src/host/launch.ts'
import { until } from '../daemon/running.ts'

let directory = ''
beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'proxsave-launch-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

test('a program is started in a session of its own, without our environment', async () => {
    const out = join(directory, 'out')
    const script = `(cat /proc/self/stat; echo "$HOME.") > ${out}.new; mv ${out}.new ${out}`
    await launch(['/bin/sh', '-c', script])
    await until(() => existsSync(out), 'it ran')
    const [stat, home] = readFileSync(out, 'latin1').split('\n')
    const session = stat!.slice(stat!.lastIndexOf(')') + 2).split(' ')[3]
    const own = readFileSync('/proc/self/stat', 'latin1')
    expect(session).not.toBe(own.slice(own.lastIndexOf(')') + 2).split(' ')[3])
    expect(home).toBe('.')
})

test('one that cannot be started is a fault', async () => {
    await expect(launch([join(directory, 'none')])).rejects.toThrow(`cannot start ${directory}/none`)
})
