/** What the guides and manuals tell people to type is what the program takes: commands, options, keys of the configuration. */
import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from '../../src/cli/command.ts'
import { commands } from '../../src/cli/commands/index.ts'
import { checkConfigText, defaultConfig } from '../../src/format/config.ts'
import { readMessages } from './messages.ts'

const top = resolve(import.meta.dir, '../..')
const read = (path: string) => readFileSync(join(top, path), 'utf8')
const pages = ['README.md', ...readdirSync(join(top, 'docs')).map(name => `docs/${name}`)]
    .filter(path => path.endsWith('.md'))
    .map(path => ({ path, text: read(path) }))
const manuals = readdirSync(join(top, 'docs/man')).map(name => `docs/man/${name}`)

/** Blocks, fenced or indented, by line; and spans within a line. */
function codeOf(text: string): string[] {
    const found: string[] = []
    const rest = text.replaceAll(/^(?:```|~~~).*\n([\s\S]*?)^(?:```|~~~)$/gm, (_all, block: string) => {
        found.push(...block.split('\n'))
        return ''
    })
    for (const line of rest.split('\n'))
        if (/^ {4,}\S/.test(line) && !/^ +[*|-] /.test(line)) found.push(line)
        else found.push(...[...line.matchAll(/`([^`]+)`/g)].map(([, span]) => span!))
    return found
}

/** The words behind each `proxsavectl`, up to whatever ends a command of the shell or begins a comment. */
function commandLines(code: string): string[][] {
    return [...code.matchAll(/(?:^|[\s;&|(])proxsavectl +([^#;|&>]*)/g)].map(
        ([, rest]) =>
            rest!
                .replaceAll(/[[\]]/g, ' ')
                .match(/"[^"]*"|\S+/g)
                ?.filter(word => word !== '…' && word !== '...') ?? [],
    )
}

const everywhere = ['--json', '--socket', '--help', '-h']

/** What is wrong with a command line; undefined when the program takes it. */
async function problemOf([name = '', ...words]: string[]): Promise<string | undefined> {
    if (name === '' || name.startsWith('-')) return undefined
    if (!Object.hasOwn(commands, name)) return `there is no command ${name}`
    const { command } = await commands[name]!()
    if (!('commands' in command)) return problemWith(command, words)
    const [verb = '', ...more] = words
    if (verb === '') return undefined
    if (!Object.hasOwn(command.commands, verb)) return `there is no ${name} ${verb}`
    return problemWith(command.commands[verb]!, more)
}

function problemWith(command: Command, words: string[]): string | undefined {
    const flags = new Map((command.options ?? []).map(({ flags }) => [flags.split(/[ ,=]/)[0]!, flags]))
    let given = 0
    for (let at = 0; at < words.length; at++) {
        const [flag, value] = words[at]!.split('=') as [string, string?]
        if (!flag.startsWith('-')) given++
        else if (flag === '--socket') at++
        else if (!everywhere.includes(flag)) {
            const spec = flags.get(flag)
            if (spec === undefined) return `there is no option ${flag}`
            if (spec.includes('<') && value === undefined && ++at >= words.length)
                return `${flag} wants a value`
        }
    }
    const wanted = command.arguments ?? []
    const most = wanted.some(({ usage }) => usage.includes('...')) ? Number.POSITIVE_INFINITY : wanted.length
    return given > most ? `${given} arguments, and it takes ${most}` : undefined
}

describe('commands', () => {
    test('the check sees what is wrong', async () => {
        const wrong = ['restor', 'restore latest --mode', 'keys show', 'status now', 'restore --moed full']
        for (const line of wrong) expect(await problemOf(line.split(' ')), line).toBeDefined()
        expect(commandLines('sudo proxsavectl list && proxsavectl backup # now')).toEqual([
            ['list'],
            ['backup'],
        ])
    })

    test.each(pages)('$path names only such as there are', async ({ path, text }) => {
        const wrong: string[] = []
        for (const words of codeOf(text).flatMap(commandLines)) {
            const problem = await problemOf(words)
            if (problem !== undefined) wrong.push(`${words.join(' ')}: ${problem}`)
        }
        expect(wrong).toEqual([])
        if (path === 'docs/restore.md') expect(codeOf(text).flatMap(commandLines).length).toBeGreaterThan(10)
    })

    test('hints and manuals name only such as there are', () => {
        const texts = [
            ...readMessages().hints.map(({ text }) => text),
            ...manuals.map(path =>
                read(path)
                    .replaceAll('\\-', '-')
                    .replaceAll(/\\f[A-Z]/g, ' '),
            ),
        ]
        const named = texts.flatMap(text => [...text.matchAll(/proxsavectl +([a-z][a-z-]+)/g)])
        const unknown = named.map(([, name]) => name!).filter(name => !Object.hasOwn(commands, name))
        expect(new Set(unknown)).toEqual(new Set())
        expect(named.length).toBeGreaterThan(50)
    })
})

describe('the configuration', () => {
    const manual = read('docs/man/proxsave.toml.5').replaceAll('\\-', '-')
    const sections = manual.split(/^\.SH /m).flatMap(text => {
        const [, name] = /^\[([a-z]+)/.exec(text) ?? []
        return name === undefined ? [] : [{ name, named: /^\[[a-z]+\./.test(text), text }]
    })
    const problemsOf = (text: string) => checkConfigText([{ file: 'page', text }]).problems

    /** The program names all keys of a section to whoever writes one that there is not. */
    function keysOf(section: string, type?: string): string[] {
        const head = `[${section}]\n${type === undefined ? '' : `type = "${type}"\n`}`
        const hint = problemsOf(`${head}zzzzzzzzzzzz = 1\n`).find(({ hint }) =>
            hint?.startsWith('known are '),
        )
        return (hint?.hint ?? '').slice('known are '.length).split(', ').sort()
    }

    test.each(sections)('[$name] has the keys that proxsave.toml(5) tells', ({ name, named, text }) => {
        const types = { target: 'local', source: 'rclone' } as Record<string, string>
        const told = [...text.matchAll(/^\.TP\n\.(?:BR?) ([a-z-]+)/gm)].map(([, key]) => key!)
        expect(told.sort()).toEqual(keysOf(named ? `${name}.x` : name, types[name]))
    })

    test('has no section that the page does not tell, and those of the page are there', () => {
        const { targetsBuiltIn: _, ...config } = defaultConfig()
        const known = Object.entries(config).map(([name, value]) =>
            Array.isArray(value) ? name.replace(/s$/, '') : name,
        )
        expect(sections.map(({ name }) => name).sort()).toEqual(known.sort())
        for (const name of known)
            expect(problemsOf(`[${name}.x]`).join(), name).not.toContain('unknown section')
    })

    const samples = [
        ...pages.flatMap(({ path, text }) =>
            [...text.matchAll(/^```toml\n([\s\S]*?)^```$/gm)].map(([, sample]) => ({
                path,
                sample: sample!,
            })),
        ),
        { path: 'proxsave.toml(5)', sample: /^\.EX\n([\s\S]*?)^\.EE$/m.exec(manual)![1]! },
    ]
    test.each(samples)('the sample of $path is understood', ({ sample }) => {
        expect(problemsOf(sample)).toEqual([])
    })
})
