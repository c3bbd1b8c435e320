/** Section files of both products: what they mean, and that they are written back byte for byte. */
import { describe, expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Fault } from '../../src/core/errors.ts'
import { pbsSchemas } from '../../src/format/check/pbs-schema.ts'
import {
    propertiesOf,
    type SectionConfig,
    valuesOf,
    writeSectionConfig,
} from '../../src/format/section-config.ts'
import { parsePbsSectionConfig } from '../../src/format/section-config-pbs.ts'
import { parsePveSectionConfig } from '../../src/format/section-config-pve.ts'

const shape = (config: SectionConfig) =>
    config.sections.map(section => [
        section.type,
        section.id,
        propertiesOf(section).map(({ key, value }) => (value === undefined ? key : `${key}=${value}`)),
    ])

function faultOf(read: () => unknown): Fault {
    try {
        read()
    } catch (error) {
        if (error instanceof Fault) return error
        throw error
    }
    throw new Error('it was read')
}

describe('a section file of Proxmox VE', () => {
    const text =
        '# top\n\ndir: local\n\tpath /a # x\n# in between\n  shared\n\t \n\n\nnfs:nas \r\n\texport\t /e  \n'

    test('is read as Perl reads it', () => {
        expect(shape(parsePveSectionConfig(text))).toEqual([
            ['dir', 'local', ['path=/a # x', 'shared']],
            ['nfs', 'nas', ['export=/e']],
        ])
    })

    test.each([text, '', '\n', 'a: b', 'a: b\n', 'a: b\n\n\n', '\n \n# x', 'a: b\n\tk \xe4\xa0 \xff\n'])(
        'is written back as %j',
        text => {
            expect(writeSectionConfig(parsePveSectionConfig(text))).toBe(text)
        },
    )

    test('keeps every line of a list, and their order', () => {
        const [section] = parsePveSectionConfig('gpu\n\tmap a\n\tmap b\n', 'untyped').sections
        expect([section?.type, section?.id]).toEqual(['', 'gpu'])
        expect(valuesOf(section!, 'map')).toEqual(['a', 'b'])
    })

    test('takes a type for the id where only metric servers may', () => {
        expect(shape(parsePveSectionConfig('graphite:\n', 'optional-id'))).toEqual([
            ['graphite', 'graphite', []],
        ])
        expect(() => parsePveSectionConfig('graphite:\n')).toThrow(Fault)
    })

    test('does not take a byte inside UTF-8 for a blank', () => {
        const [section] = parsePveSectionConfig('a: b\n\tcomment \xc3\xa0\n').sections
        expect(valuesOf(section!, 'comment')).toEqual(['\xc3\xa0'])
    })

    test('that lost the empty line between sections is a fault with its line', () => {
        const fault = faultOf(() => parsePveSectionConfig('a: b\n\tk v\nc: d\n'))
        expect(fault.kind).toBe('damaged')
        expect(fault.facts.line).toBe(3)
        expect(fault.message).toStartWith('cannot read a section file of Proxmox VE: line 3: ')
    })
})

interface Vector {
    name: string
    input: string
    ok: boolean
    sections?: { type: string; id: string; props: Record<string, string[]> }[]
    error?: string
}
const vectorFile = join(import.meta.dir, '../../../shared/vectors/pbs-sectionconfig.json')
const present = existsSync(vectorFile)
if (!present) console.log('skip: the section vectors of ../shared are not here')
const vectors = present ? (JSON.parse(readFileSync(vectorFile, 'utf8')) as Vector[]) : []

describe('a section file of Proxmox Backup Server', () => {
    const schema = pbsSchemas.get('sync.cfg')

    test.each(vectors.map(vector => [vector.name, vector] as const))('vector: %s', (_, vector) => {
        const { input, ok, error, sections = [] } = vector
        if (!ok) {
            const line = Number(/^line (\d+) /.exec(error!)![1])
            expect(faultOf(() => parsePbsSectionConfig(input, schema)).facts.line).toBe(line)
            return
        }
        const config = parsePbsSectionConfig(input, schema)
        const read = config.sections.map(section => {
            const props: Record<string, string[]> = {}
            for (const { key, value } of propertiesOf(section)) props[key] = [...(props[key] ?? []), value!]
            return { type: section.type, id: section.id, props }
        })
        expect(read).toEqual(sections)
        expect(writeSectionConfig(config)).toBe(input)
    })

    test('has every vector', () => {
        if (present) expect(vectors.length).toBeGreaterThanOrEqual(42)
    })

    test('without a schema still needs its syntax', () => {
        const text = 'any: thing\n\tkey value\n\tkey other\n'
        const config = parsePbsSectionConfig(text)
        expect(valuesOf(config.sections[0]!, 'key')).toEqual(['value', 'other'])
        expect(writeSectionConfig(config)).toBe(text)
        expect(faultOf(() => parsePbsSectionConfig('# x\n')).facts.line).toBe(1)
        expect(faultOf(() => parsePbsSectionConfig('any:\n')).facts.line).toBe(1)
    })
})
