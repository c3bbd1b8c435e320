/** Starts a program that lives on without us: a session of its own, no terminal, nobody who waits for it. */
import { spawn } from 'node:child_process'
import { Fault } from '../core/errors.ts'
import { systemPath } from './exec.ts'

/** Resolves once it runs; throws when it cannot be started. */
export function launch(argv: readonly [string, ...string[]]): Promise<void> {
    return new Promise((resolve, reject) => {
        const cannot = (error: unknown) =>
            new Fault('failed', `cannot start ${argv[0]}: ${error instanceof Error ? error.message : error}`)
        try {
            const child = spawn(argv[0], argv.slice(1), {
                cwd: '/',
                env: { LC_ALL: 'C', PATH: systemPath },
                detached: true,
                stdio: 'ignore',
            })
            child.once('error', error => reject(cannot(error)))
            child.once('spawn', resolve)
            child.unref()
        } catch (error) {
            reject(cannot(error))
        }
    })
}
