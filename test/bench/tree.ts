/** The tree that is measured: the generator beside the project where it is, a small one of our own elsewhere. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const generator = resolve(import.meta.dir, '../../../shared/bench/gen-host-tree')

export interface BenchTree {
    what: string
    files: number
    bytes: number
    /** Changes it as a day on a host does. */
    mutate(seed: number): void
    /** Fifty paths without a leading slash. */
    pick(): string[]
}

export function makeTree(out: string, scale: 'small' | 'medium' | 'large'): BenchTree {
    return existsSync(generator) ? generated(out, scale) : own(out, scale)
}

function generated(out: string, scale: string): BenchTree {
    const run = (...args: string[]) => {
        const { exitCode, stdout, stderr } = Bun.spawnSync(['python3', generator, ...args])
        if (exitCode !== 0) throw new Error(stderr.toString())
        return stdout.toString()
    }
    run('--out', out, '--scale', scale)
    return {
        what: `${scale} tree of gen-host-tree`,
        ...measure(out),
        mutate: seed => void run('--mutate', out, '--seed', String(seed)),
        pick: () =>
            run('--pick', out, '--count', '50')
                .trim()
                .split('\n')
                .map(path => path.replace(/^\.?\//, '')),
    }
}

/** Words that compress about as well as configuration does; seeded, so that every run measures the same bytes. */
function own(out: string, scale: 'small' | 'medium' | 'large'): BenchTree {
    const count = { small: 4_000, medium: 25_000, large: 150_000 }[scale]
    let state = 42
    const next = () => {
        state = (state * 1103515245 + 12345) & 0x7fffffff
        return state
    }
    const content = (size: number) => {
        let text = ''
        while (text.length < size) text += `${next().toString(36)} = ${(next() % 1000).toString()} enable\n`
        return text
    }
    const paths: string[] = []
    for (let i = 0; i < count; i++) {
        const directory = join('etc', `d${i % 97}`)
        mkdirSync(join(out, directory), { recursive: true })
        paths.push(join(directory, `f${i}.conf`))
        writeFileSync(join(out, paths.at(-1)!), content(i % 500 === 0 ? 1_000_000 : next() % 8_000))
    }
    return {
        what: `${scale} tree of the project's own`,
        ...measure(out),
        mutate(seed) {
            for (let i = seed % 100; i < count; i += 100) writeFileSync(join(out, paths[i]!), content(2_000))
        },
        pick: () => paths.filter((_, i) => i % Math.floor(count / 50) === 0).slice(0, 50),
    }
}

function measure(directory: string): { files: number; bytes: number } {
    const { stdout } = Bun.spawnSync(['find', directory, '-type', 'f', '-printf', '%s\\n'])
    const sizes = stdout.toString().trim().split('\n').map(Number)
    return { files: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) }
}
