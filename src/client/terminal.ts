/** The caller's terminal as a value, so that commands can be tried without one. */
import { readlinkSync } from 'node:fs'
import { isatty } from 'node:tty'

export interface Terminal {
    out(text: string): void
    err(text: string): void
    /** Waits until what was written is with the reader; a long listing must not fill the memory. */
    drained(): Promise<void>
    readonly inIsTerminal: boolean
    readonly outIsTerminal: boolean
    readonly errIsTerminal: boolean
    /** Columns of the terminal, or 0 when the output is none. */
    readonly columns: number
    readonly env: Readonly<Record<string, string | undefined>>
    readonly cwd: string
    /** Who asks, for the daemon's history: `root@pts/0`. */
    readonly user: string
    /** Calls the handler at each Ctrl+C until the returned function is called. */
    onInterrupt(handler: () => void): () => void
    /** Everything on standard input, at most this many bytes, waiting at most this long (ms). */
    readInput(mostBytes: number, mostMs: number): Promise<string>
}

export function systemTerminal(): Terminal {
    const { stdout, stderr, env } = process
    let gone = false
    for (const stream of [stdout, stderr])
        stream.on('error', error => {
            // `proxsavectl list | head`: the reader has seen enough.
            if ((error as { code?: string }).code === 'EPIPE') gone = true
            else throw error
        })
    return {
        out: text => void (gone || stdout.write(text)),
        err: text => void (gone || stderr.write(text)),
        drained: () =>
            new Promise(resolve => {
                if (gone || !stdout.writableNeedDrain) return resolve()
                stdout.once('drain', resolve)
                stdout.once('error', () => resolve())
            }),
        inIsTerminal: isatty(0),
        outIsTerminal: stdout.isTTY === true,
        errIsTerminal: stderr.isTTY === true,
        columns: stdout.isTTY ? stdout.columns || 80 : 0,
        env,
        cwd: process.cwd(),
        user: `${userName(env)}${terminalName()}`,
        onInterrupt(handler) {
            process.on('SIGINT', handler)
            return () => void process.off('SIGINT', handler)
        },
        readInput,
    }
}

function userName(env: Terminal['env']): string {
    const uid = process.getuid?.() ?? 0
    return env.SUDO_USER ?? env.USER ?? env.LOGNAME ?? (uid === 0 ? 'root' : `uid${uid}`)
}

function terminalName(): string {
    try {
        const link = readlinkSync('/proc/self/fd/0')
        return /^\/dev\/(pts\/\d+|tty\w+|console)$/.test(link) ? `@${link.slice(5)}` : ''
    } catch {
        return ''
    }
}

async function readInput(mostBytes: number, mostMs: number): Promise<string> {
    const reader = Bun.stdin.stream().getReader()
    let timer: ReturnType<typeof setTimeout> | undefined
    const deadline = new Promise<{ done: true; value: undefined }>(resolve => {
        timer = setTimeout(() => resolve({ done: true, value: undefined }), mostMs)
    })
    const decoder = new TextDecoder()
    let text = ''
    let size = 0
    for (;;) {
        const { done, value } = await Promise.race([reader.read(), deadline])
        if (done || value === undefined) break
        size += value.length
        text += decoder.decode(value, { stream: true })
        if (size > mostBytes) break
    }
    clearTimeout(timer)
    await reader.cancel().catch(() => undefined)
    return text
}
