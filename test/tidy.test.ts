/** The shape of the house: who may import whom, who may touch the system, and that everything is registered. */
import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { commands } from '../src/cli/commands/index.ts'
import { openapiPage } from '../src/daemon/openapi.ts'
import { routes } from '../src/daemon/routes/index.ts'

const top = join(import.meta.dir, '..')
const src = join(top, 'src')

function filesBelow(directory: string): string[] {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' })
        .filter(name => name.endsWith('.ts'))
        .map(name => join(directory, name))
        .filter(path => statSync(path).isFile())
}

const files = filesBelow(src).map(path => ({
    path: relative(src, path),
    text: readFileSync(path, 'utf8'),
}))

/** Lower first. Rooms of one floor do not import each other, except where `neighbours` says so. */
const floors: readonly (readonly string[])[] = [
    ['core'],
    ['format'],
    ['host'],
    ['catalog'],
    ['archive'],
    ['engine'],
    [
        ...['backup', 'keys', 'setup', 'schedule', 'targets'],
        ...['restore', 'guard', 'proxmox', 'guests', 'policy', 'alerts'],
    ],
    ['daemon', 'client', 'cli'],
    ['main.ts'],
]
const neighbours = new Set(['cli → client'])

const floorOf = (room: string) => floors.findIndex(floor => floor.includes(room))
const roomOf = (path: string) => path.split('/')[0]!

/** Everything that a file imports, also by `import()` and in types. */
function importsOf(text: string): string[] {
    return [...text.matchAll(/(?:\bfrom|\bimport\(|^import)\s*'([^']+)'/gm)].map(([, name]) => name!)
}

/** What is wrong with a file that imports these names; the rule itself, so that it can be tried. */
export function layerFaults(path: string, imports: readonly string[]): string[] {
    const faults: string[] = []
    const room = roomOf(path)
    for (const name of imports) {
        if (!name.startsWith('.')) continue
        const target = relative(src, resolve(src, dirname(path), name))
        if (target.startsWith('..')) {
            if (target !== '../package.json') faults.push(`${path} imports ${target}`)
            continue
        }
        const other = roomOf(target)
        if (other === room) continue
        const ownFloor = floorOf(room)
        const otherFloor = floorOf(other)
        if (ownFloor < 0 || otherFloor < 0) faults.push(`${path} imports ${target}: a room without a floor`)
        else if (otherFloor > ownFloor) faults.push(`${path} imports the higher ${target}`)
        else if (otherFloor === ownFloor && !neighbours.has(`${room} → ${other}`))
            faults.push(`${path} imports its neighbour ${target}`)
        // The command line is thin: what it knows comes over the socket.
        else if (room === 'cli' && other !== 'client' && other !== 'core')
            faults.push(`${path} imports ${target}`)
    }
    return faults
}

describe('layers', () => {
    test('the rule sees what it is for', () => {
        expect(layerFaults('core/ids.ts', ['../host/libc.ts'])).toHaveLength(1)
        expect(layerFaults('keys/x.ts', ['../backup/plan.ts'])).toHaveLength(1)
        expect(layerFaults('cli/x.ts', ['../engine/change.ts'])).toHaveLength(1)
        expect(layerFaults('daemon/x.ts', ['../cli/main.ts'])).toHaveLength(1)
        expect(layerFaults('attic/x.ts', ['../core/ids.ts'])).toHaveLength(1)
        expect(layerFaults('cli/x.ts', ['../client/types.ts', '../core/errors.ts', 'commander'])).toEqual([])
        expect(importsOf(`import 'x'\nimport { a } from 'y'\nawait import('z')`).sort()).toEqual([
            'x',
            'y',
            'z',
        ])
    })

    test('a lower one never imports a higher one, and siblings leave each other alone', () => {
        expect(files.length).toBeGreaterThan(100)
        expect(files.flatMap(({ path, text }) => layerFaults(path, importsOf(text)))).toEqual([])
    })

    test('every room stands on a floor', () => {
        const rooms = [...new Set(files.map(({ path }) => roomOf(path)))]
        expect(rooms.filter(room => floorOf(room) < 0)).toEqual([])
    })
})

describe('the operating system', () => {
    const touches =
        /'(?:node:)?(?:fs|fs\/promises|net|child_process|http|https|dgram|tls|bun:ffi|bun:sqlite)'|\bBun\.(?:spawn|spawnSync|file|write|serve|listen|connect|\$)\b/
    const mayTouch = (path: string) =>
        roomOf(path) === 'host' || roomOf(path) === 'client' || ['main.ts', 'daemon/server.ts'].includes(path)

    test('is touched by src/host, src/client, the server of the daemon and main alone', () => {
        expect(touches.test(`import { readFileSync } from 'node:fs'`)).toBe(true)
        expect(touches.test('Bun.spawn([])')).toBe(true)
        expect(
            files.filter(({ path, text }) => !mayTouch(path) && touches.test(text)).map(({ path }) => path),
        ).toEqual([])
    })

    test('is reached through bun:ffi in the files that are made for it', () => {
        const users = files.filter(({ text }) => text.includes("from 'bun:ffi'")).map(({ path }) => path)
        expect(users.sort()).toEqual(['host/decompress.ts', 'host/libc.ts', 'host/libcrypto.ts'])
    })
})

describe('registries', () => {
    const namesIn = (directory: string) =>
        readdirSync(join(src, directory))
            .filter(name => name.endsWith('.ts') && name !== 'index.ts')
            .map(name => name.slice(0, -3))

    test('every command file is a command, and every command has its file', () => {
        expect(Object.keys(commands).sort()).toEqual(namesIn('cli/commands').sort())
    })

    for (const directory of ['daemon/routes', 'catalog/categories'])
        test(`every file of ${directory} is in its index`, () => {
            const index = files.find(({ path }) =>
                [`${directory}/index.ts`, `${dirname(directory)}/index.ts`].includes(path),
            )
            const imported = new Set(
                importsOf(index!.text).map(name => name.replace(/^.*\//, '').replace(/\.ts$/, '')),
            )
            const names = namesIn(directory)
            expect(names.length).toBeGreaterThan(5)
            expect(names.filter(name => !imported.has(name))).toEqual([])
        })

    test('every task kind is registered somewhere', () => {
        const makers = files.flatMap(({ path, text }) =>
            [...text.matchAll(/export (?:function|const) (\w+)[^\n{]*(?:\n[^\n{]*){0,4}?: TaskKind</g)].map(
                ([, name]) => ({ path, name: name! }),
            ),
        )
        expect(makers.map(({ name }) => name)).toContain('archiveWrite')
        const registered = files.map(({ text }) => text).join('\n')
        const strangers = makers.filter(
            ({ name }) => !new RegExp(`register\\(\\s*${name}\\b`).test(registered),
        )
        expect(strangers).toEqual([])
    })

    test('every operation of the worker is used by a route or a task', () => {
        const index = files.find(({ path }) => path === 'backup/index.ts')!.text
        const names = [...index.matchAll(/'(archive\.\w+)':/g)].map(([, name]) => name!)
        expect(names.length).toBeGreaterThan(4)
        const users = files.filter(({ path }) => path !== 'backup/index.ts').map(({ text }) => text)
        expect(names.filter(name => !users.some(text => text.includes(`'${name}'`)))).toEqual([])
    })

    test('every route is its own method and path, below /v1, with a handler that needs root', () => {
        const keys = routes.map(({ method, path }) => `${method} ${path}`)
        expect(new Set(keys).size).toBe(keys.length)
        for (const { path, access, summary } of routes) {
            expect(path).toMatch(/^\/v1(\/(\{\w+\}|[a-z-]+))+$/)
            expect(access).toBe('root')
            expect(summary.length).toBeGreaterThan(5)
        }
    })

    test('every body and query refuses unknown fields', () => {
        for (const { method, path, body, query } of routes)
            for (const schema of [body, query])
                if (schema !== undefined) expect(schema.additionalProperties, `${method} ${path}`).toBe(false)
    })
})

test('docs/openapi.yaml is what the routes say', () => {
    const page = readFileSync(join(top, 'docs/openapi.yaml'), 'utf8')
    expect(page === openapiPage(routes), 'run packaging/generate-openapi').toBe(true)
    const parsed = Bun.YAML.parse(page) as { paths: Record<string, Record<string, unknown>> }
    const described = Object.entries(parsed.paths).flatMap(([path, methods]) =>
        Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`),
    )
    expect(described.sort()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).sort())
})

describe('files', () => {
    test('begin with what they are for', () => {
        expect(files.filter(({ text }) => !text.startsWith('/**')).map(({ path }) => path)).toEqual([])
    })

    test('have names that say what they hold', () => {
        const vague = /(^|\/)(utils?|helpers?|common|misc|manager)(\.ts|\/)/
        expect(files.filter(({ path }) => vague.test(path)).map(({ path }) => path)).toEqual([])
    })
})
