/** Times whole processes: wall, CPU of the process and all it waited for, and the largest resident set. */

export interface Sample {
    wallMs: number
    cpuMs: number
    peakMiB: number
}

export interface Command {
    argv: string[]
    input?: string
    /** Runs before each sample, untimed. */
    prepare?: () => void
}

export async function sample(command: Command): Promise<Sample> {
    command.prepare?.()
    const began = performance.now()
    const child = Bun.spawn(command.argv, {
        stdin: command.input === undefined ? 'ignore' : Buffer.from(command.input),
        stdout: 'pipe',
        stderr: 'pipe',
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' },
    })
    const [out, err] = await Promise.all([
        new Response(child.stdout).bytes(),
        new Response(child.stderr).text(),
    ])
    const status = await child.exited
    const wallMs = performance.now() - began
    const said = Buffer.from(out.subarray(Math.max(0, out.length - 4096))).toString()
    if (status !== 0 || said.includes('"event":"error"'))
        throw new Error(
            `${command.argv.join(' ').slice(0, 200)} ended with ${status}: ${err.slice(-500)} ${said.slice(-500)}`,
        )
    const usage = child.resourceUsage()!
    return { wallMs, cpuMs: Number(usage.cpuTime.total) / 1000, peakMiB: usage.maxRSS / 1024 / 1024 }
}

const median = (numbers: number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!

export interface Compared {
    wall: number
    cpu: number
    /** Medians of the first command. */
    wallMs: number
    peakMiB: number
}

/** A B A B …: the median of the ratios of neighbours, so that a machine whose speed drifts does not matter. */
export async function compare(a: Command, b: Command, pairs: number): Promise<Compared> {
    const as: Sample[] = []
    const bs: Sample[] = []
    for (let i = 0; i < pairs; i++) {
        as.push(await sample(a))
        bs.push(await sample(b))
    }
    return {
        wall: median(as.map((one, i) => one.wallMs / bs[i]!.wallMs)),
        cpu: median(as.map((one, i) => one.cpuMs / bs[i]!.cpuMs)),
        wallMs: median(as.map(one => one.wallMs)),
        peakMiB: median(as.map(one => one.peakMiB)),
    }
}

export async function alone(a: Command, runs: number): Promise<{ wallMs: number; peakMiB: number }> {
    const samples: Sample[] = []
    for (let i = 0; i < runs; i++) samples.push(await sample(a))
    return {
        wallMs: median(samples.map(one => one.wallMs)),
        peakMiB: median(samples.map(one => one.peakMiB)),
    }
}
