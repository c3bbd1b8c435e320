/** Tells the service manager how the daemon is doing: sd_notify(3), without a library. */
import { boottimeNs, sendNotification } from './libc.ts'

export interface Notifier {
    /** The socket listens. Throws when the service manager cannot be told: it would wait for it in vain. */
    ready(status: string): void
    /** One line that `systemctl status` shows. */
    status(text: string): void
    reloading(): void
    /** Stops, and may need `ms` for it: more than the unit's own limit. */
    stopping(status: string, ms?: number): void
    /** A sign of life; to be given at least twice in `watchdogMs`. */
    alive(): void
    /** What the service manager allows between two signs of life, or undefined when it does not watch. */
    readonly watchdogMs: number | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

/** A notifier for the environment that the service manager gave us; silent outside of it. */
export function notifierOf(
    environment: Environment,
    pid: number = process.pid,
    send: (socket: string, message: string) => void = sendNotification,
): Notifier {
    const socket = environment.NOTIFY_SOCKET
    // A path or an abstract name; vsock addresses of virtual machines are not for us.
    const reachable = socket !== undefined && /^[/@]./.test(socket) && Buffer.byteLength(socket) < 108

    function tell(...lines: string[]): void {
        if (reachable) send(socket, lines.join('\n'))
    }
    function tellIfPossible(...lines: string[]): void {
        try {
            tell(...lines)
        } catch {
            // The manager may be restarting; a lost status line harms nobody, and a lost sign of life is its own answer.
        }
    }
    return {
        ready: status => tell('READY=1', `STATUS=${oneLine(status)}`),
        status: text => tellIfPossible(`STATUS=${oneLine(text)}`),
        // Type=notify-reload compares this stamp; the kernel's CLOCK_MONOTONIC differs from ours only by suspend.
        reloading: () => tellIfPossible('RELOADING=1', `MONOTONIC_USEC=${boottimeNs() / 1000n}`),
        stopping: (status, ms) =>
            tellIfPossible(
                'STOPPING=1',
                `STATUS=${oneLine(status)}`,
                ...(ms === undefined ? [] : [`EXTEND_TIMEOUT_USEC=${ms * 1000}`]),
            ),
        alive: () => tellIfPossible('WATCHDOG=1'),
        watchdogMs: reachable ? watchdogMs(environment, pid) : undefined,
    }
}

function watchdogMs(environment: Environment, pid: number): number | undefined {
    const usec = Number(environment.WATCHDOG_USEC)
    const meant = environment.WATCHDOG_PID
    // A child that inherited the variables is not the one that is watched.
    if (meant !== undefined && meant !== String(pid)) return undefined
    return Number.isSafeInteger(usec) && usec > 0 ? usec / 1000 : undefined
}

/** A newline would begin a second assignment. */
function oneLine(text: string): string {
    return text.replaceAll(/[\u0000-\u001f\u007f]+/g, ' ').slice(0, 1000)
}
