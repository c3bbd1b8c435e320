/** Whatever stands in the files: a configuration or a fault with file and line, quickly, never another exception. */
import { expect, test } from 'bun:test'
import { checkConfigText } from '../../src/format/config.ts'

const sample = `[backup]
categories = ["network", "ssh"] # a comment
exclude = ["/home/*/.cache"]
encryption = "age"
cache = true
[target.local]
type = "local"
path = "/var/backups/proxsave"
keep = "keep-last=3,keep-daily=7"
min-keep = 2
[job.daily]
schedule = "Mon..Fri 02:30"
targets = ["local"]
[guard]
timeout = "180s"
`
const pieces = [
    ...'[]{}="\'.,#\n\\-+0159aé\0\x7f',
    '[[x]]\n',
    '"""',
    "'''",
    '__proto__',
    'constructor',
    'toString',
    '1979-05-27T07:32:00Z',
    'nan',
    '-inf',
    '0x1F',
    '9'.repeat(400),
    'a.b.c.d',
    '\\u0000',
    '\\uD800',
    'job.daily.schedule',
    '[target]\n',
    '[job."../x"]\n',
]

test('mutated files', () => {
    let state = 20_261_120
    const random = (below: number) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0
        return Math.floor((state / 2 ** 32) * below)
    }
    let accepted = 0
    const rounds = Number(process.env.PROXSAVE_FUZZ ?? 3000)
    for (let round = 0; round < rounds; round++) {
        let text = sample
        for (let edit = random(5); edit >= 0; edit--) {
            const at = random(text.length)
            const cut = random(3) ? 0 : random(12)
            const piece = random(4) ? pieces[random(pieces.length)]! : ''
            text = text.slice(0, at) + piece + text.slice(at + cut)
        }
        const { config, problems } = checkConfigText([{ file: 'f', text }], {
            categories: ['network', 'ssh'],
        })
        if (config !== undefined) accepted++
        else
            for (const problem of problems) {
                expect(problem.message).not.toBe('')
                expect(problem.line).toBeGreaterThan(0)
            }
        expect(config === undefined).toBe(problems.length > 0)
    }
    // Some edits only touch comments: a parser that refuses everything would pass the rest.
    expect(accepted).toBeGreaterThan(rounds / 100)
})
