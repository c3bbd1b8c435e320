/** The daemon's log: one line an event on standard error, with the priority that journald understands. */

export interface Log {
    error(text: string): void
    warning(text: string): void
    notice(text: string): void
    info(text: string): void
}

/** sd-daemon(3): `<3>` error, `<4>` warning, `<5>` notice, `<6>` information. */
export function logTo(write: (text: string) => void, prefixes: boolean): Log {
    const at = (priority: number) => (text: string) =>
        write(
            `${prefixes ? `<${priority}>` : ''}${text.replaceAll(/[\x00-\x1f\x7f]+/g, ' ').slice(0, 8192)}\n`,
        )
    return { error: at(3), warning: at(4), notice: at(5), info: at(6) }
}
