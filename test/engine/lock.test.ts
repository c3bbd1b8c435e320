/** The lock of the state directory, with real files and a real child process. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lockState, tryHold } from '../../src/engine/lock.ts'
import { realDisk } from '../../src/host/disk.ts'

let directory = ''
beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'proxsave-lock-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

test('a second daemon is refused, and welcome when the first has gone', () => {
    const state = join(directory, 'deep', 'state')
    const first = lockState(realDisk(), state)
    expect(() => lockState(realDisk(), state)).toThrow(`cannot serve ${state}: another daemon serves it`)
    first.release()
    const second = lockState(realDisk(), state)
    // Releasing twice must not close what has the same number by now.
    first.release()
    expect(tryHold(join(state, 'lock'))).toBeUndefined()
    second.release()
})

test('a child that lives on does not keep the lock', async () => {
    const lock = lockState(realDisk(), directory)
    const child = Bun.spawn(['cat'], { stdin: 'pipe', stdout: 'pipe' })
    // What it says back shows that it is `cat` by now: close-on-exec has happened.
    child.stdin.write('here')
    child.stdin.flush()
    await child.stdout.getReader().read()
    lock.release()
    const again = tryHold(join(directory, 'lock'))
    expect(again).toBeDefined()
    again?.release()
    child.stdin.end()
    await child.exited
})

test('a process that is killed gives the lock back', async () => {
    const script = `
        const { tryHold } = await import(${JSON.stringify(join(import.meta.dir, '../../src/engine/lock.ts'))})
        console.log(tryHold(process.argv.at(-1)) === undefined ? 'busy' : 'held')
        setInterval(() => {}, 1000)
    `
    const child = Bun.spawn([process.execPath, '-e', script, '--', join(directory, 'lock')], {
        stdout: 'pipe',
    })
    const { value } = await child.stdout.getReader().read()
    expect(Buffer.from(value!).toString().trim()).toBe('held')
    expect(tryHold(join(directory, 'lock'))).toBeUndefined()
    child.kill('SIGKILL')
    await child.exited
    const lock = tryHold(join(directory, 'lock'))
    expect(lock).toBeDefined()
    lock?.release()
})
