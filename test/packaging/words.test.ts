/** What proxsavectl understands is what its manual page tells and bash completes. */
import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { commands } from '../../src/cli/commands/index.ts'

const repository = resolve(import.meta.dir, '../..')
const read = (path: string) => readFileSync(join(repository, path), 'utf8')
const manual = read('docs/man/proxsavectl.1').replaceAll('\\-', '-')
const completion = join(repository, 'packaging/completion/proxsavectl')

/** What bash offers for a line of words, the last of which is being typed. */
function complete(...words: string[]): string[] {
    const script = `
        source ${completion}
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _proxsavectl
        printf '%s\\n' "\${COMPREPLY[@]}"`
    const ran = Bun.spawnSync(['bash', '-c', script, 'bash', 'proxsavectl', ...words], {
        env: { PATH: '/usr/bin:/bin' },
        timeout: 10_000,
    })
    return ran.stdout.toString().split('\n').filter(Boolean)
}

type Options = readonly { flags: string; hidden?: boolean }[]
const shown = (options: Options | undefined) =>
    (options ?? []).filter(option => !option.hidden).map(option => option.flags.split(/[ ,=]/)[0]!)

describe('proxsavectl', () => {
    test.each(Object.keys(commands))('%s is told and completed', async name => {
        const { command } = await commands[name]!()
        if ('hidden' in command && command.hidden) {
            expect(complete('')).not.toContain(name)
            return
        }
        expect(complete('')).toContain(name)
        expect(manual).toMatch(new RegExp(`^\\.(B|BR|TP) "?${name}\\b`, 'm'))
        const verbs =
            'commands' in command ? Object.entries(command.commands) : [[undefined, command] as const]
        for (const [verb, { options }] of verbs) {
            const words = verb === undefined ? [name] : [name, verb]
            if (verb !== undefined) expect(complete(name, '')).toContain(verb)
            for (const flag of shown(options)) {
                expect(complete(...words, '--'), `${words.join(' ')} ${flag}`).toContain(flag)
                expect(manual, `${words.join(' ')} ${flag}`).toContain(flag)
            }
        }
    })

    test('offers nothing that no command takes', async () => {
        for (const name of complete('').filter(word => !word.startsWith('-') && word !== 'help'))
            expect(Object.keys(commands)).toContain(name)
    })
})
