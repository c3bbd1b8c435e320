/** How far the work is: a bar with bytes and time left on a terminal, now and then a plain line elsewhere. */
import { count, showDuration, showSize } from '../core/units.ts'
import type { Cli } from './command.ts'
import { fit, safe } from './output.ts'

export interface Step {
    done: number
    total?: number
    unit: 'bytes' | 'entries'
    text?: string
}

export interface Progress {
    update(step: Step): void
    /** Prints a line without tearing the bar. */
    line(text: string): void
    /** Takes the bar away, so that something else can be printed; the next update brings it back. */
    stop(): void
}

/** Plain lines come at most this often. */
const lineEveryMs = 10_000

export async function showProgress(cli: Cli): Promise<Progress> {
    if (cli.json) return { update: () => undefined, line: () => undefined, stop: () => undefined }
    if (!cli.terminal.errIsTerminal || cli.terminal.env.TERM === 'dumb') return plainProgress(cli)
    return barProgress(cli)
}

function plainProgress({ terminal }: Cli): Progress {
    let saidMs = performance.now()
    return {
        update(step) {
            const nowMs = performance.now()
            if (nowMs - saidMs < lineEveryMs) return
            saidMs = nowMs
            terminal.err(`  ${describe(step)}\n`)
        },
        line: text => terminal.out(`${text}\n`),
        stop: () => undefined,
    }
}

async function barProgress({ terminal }: Cli): Promise<Progress> {
    const { default: bars } = await import('cli-progress')
    let current: Step = { done: 0, unit: 'bytes' }
    let began = performance.now()
    const render = (options: { barsize?: number }, params: { progress: number }) => {
        const width = Math.max(4, Math.min(options.barsize ?? 30, 30, terminal.columns - 50))
        const full = Math.round(Math.min(1, params.progress) * width)
        const bar = current.total ? `${'█'.repeat(full)}${'░'.repeat(width - full)} ` : ''
        return fit(
            `  ${bar}${describe(current, timeLeft(current, performance.now() - began))}`,
            terminal.columns - 1,
        )
    }
    const make = () =>
        new bars.SingleBar({
            format: render,
            hideCursor: true,
            clearOnComplete: true,
            fps: 8,
            linewrap: false,
            // Whoever shows a bar takes it away at Ctrl+C; its handlers would keep the program alive at SIGTERM.
            gracefulExit: false,
        })
    let bar: ReturnType<typeof make> | undefined
    const clear = () => {
        bar?.stop()
        bar = undefined
    }
    return {
        update(step) {
            if (step.done < current.done || step.total !== current.total) began = performance.now()
            current = step
            if (bar === undefined) {
                bar = make()
                bar.start(step.total ?? 0, step.done)
            }
            bar.setTotal(step.total ?? 0)
            bar.update(step.done)
        },
        line(text) {
            clear()
            terminal.out(`${text}\n`)
        },
        stop: clear,
    }
}

function describe(step: Step, left?: string): string {
    const show = step.unit === 'bytes' ? showSize : (many: number) => count(many, 'entry', 'entries')
    const amount = step.total
        ? `${step.unit === 'bytes' ? show(step.done) : step.done} of ${show(step.total)}`
        : show(step.done)
    const percent = step.total
        ? `${Math.floor((Math.min(step.done, step.total) / step.total) * 100)} %  `
        : ''
    return [`${percent}${amount}`, left, step.text === undefined ? undefined : safe(step.text)]
        .filter(part => part !== undefined)
        .join('  ')
}

/** Told only when there is enough behind to judge by. */
function timeLeft(step: Step, spentMs: number): string | undefined {
    if (!step.total || step.done <= 0 || spentMs < 2_000 || step.done >= step.total) return undefined
    const leftMs = (spentMs / step.done) * (step.total - step.done)
    return `${showDuration(Math.max(1_000, Math.round(leftMs / 1000) * 1000))} left`
}
