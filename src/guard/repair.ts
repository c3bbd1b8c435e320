/** Gives the staged interfaces files the names that the same cards have on this host; asks where that is not certain. */
import type { TaskContext } from '../engine/kinds.ts'
import { Fault } from '../core/errors.ts'
import { interfaceNames, overlongNames, renameInterfaces } from '../format/interfaces-rename.ts'
import {
    type Nic,
    nicInventoryPath,
    parseNicInventory,
    parseUpstreamInventory,
    upstreamInventoryPaths,
} from '../format/nic-inventory.ts'
import type { ByteString } from '../format/tar-write.ts'
import { close } from '../host/libc.ts'
import { readNics } from '../host/nics.ts'
import type { PlaceTree } from '../host/place.ts'
import { showPath } from '../host/tree.ts'
import { stage } from './candidate.ts'
import { areaHostOf } from './host.ts'
import {
    changedNamingRules,
    mapNics,
    type NicConflict,
    type NicMap,
    namingRuleDirectories,
    namingRules,
    type Rename,
    renameMap,
} from './nic-map.ts'
import type { GuardHost, GuardParams } from './tasks.ts'

const isInterfaces = (path: string) => /^etc\/network\/interfaces(\.d\/[^/]+)?$/.test(path)

export async function repairNames(
    host: GuardHost,
    { actions }: GuardParams,
    context: TaskContext,
    own: PlaceTree,
): Promise<void> {
    const files = actions.filter(
        ({ path, action, type }) => isInterfaces(path) && action !== 'remove' && type === 'file',
    )
    const texts = new Map(files.map(({ path }) => [path, textOf(own, path)]))
    const saved = readInventory(own)
    if (saved === undefined || files.length === 0) {
        if (files.length > 0)
            context.log('the backup has no inventory of network cards: their names are taken as they are')
        tellRules(host, actions, context, own, 'nothing tells which cards of this host they are about')
        return
    }
    const used = new Set([...texts.values()].flatMap(text => [...interfaceNames(text)]))
    const map = mapNics(saved, readNics(host.root), used)
    tellUnmatched(map, context)
    if (map.renames.length === 0 && map.conflicts.length === 0) {
        tellRules(
            host,
            actions,
            context,
            own,
            'cards may have other names at the next boot than they have now',
        )
        return
    }
    if (!(await mayRename(host, actions, map, context, own))) {
        context.warn(`network cards keep the names of the backup, as answered: ${listed(map.renames)}`)
        return
    }
    const chosen = renameMap(map.renames, await decideConflicts(map.conflicts, context))
    if (chosen.size === 0) return
    for (const [path, text] of texts) {
        const renamed = renameInterfaces(text, chosen)
        if (renamed === text) continue
        const [long] = overlongNames(renamed)
        if (long !== undefined)
            throw new Fault(
                'failed',
                `cannot rename the network cards: ${long} in /${path} would be longer than the 15 characters that the kernel takes`,
                {
                    hint: 'shorten the name of the VLAN by hand behind the restore, or leave the network out',
                },
            )
        rewrite(own, path, renamed)
        context.log(`/${showPath(path)}: cards renamed`)
    }
    for (const [from, to] of chosen) context.log(`the card ${from} of the backup is ${to} on this host`)
}

/** Strict, so a damaged inventory is told and not guessed at. */
function readInventory(own: PlaceTree): Nic[] | undefined {
    const at = (path: string) => `${stage}/${path}`
    if (own.look(at(nicInventoryPath)) !== undefined)
        return parseNicInventory(own.readWhole(at(nicInventoryPath)))
    const upstream = upstreamInventoryPaths.find(path => own.look(at(path)) !== undefined)
    return upstream === undefined ? undefined : parseUpstreamInventory(own.readWhole(at(upstream)))
}

function tellUnmatched({ unmatched }: NicMap, context: TaskContext): void {
    for (const { saved, namesake } of unmatched)
        if (namesake !== undefined)
            context.warn(
                `the card ${saved.name} of the backup is not here, and another card has its name: it would get those settings`,
            )
        else context.warn(`the card ${saved.name} of the backup is not here, nor one that could be it`)
}

const listed = (renames: readonly Rename[]) =>
    renames.map(({ from, to, by }) => `${from} is ${to} here (${by})`).join(', ')

/** Rules that come with the backup and are new here. */
function tellRules(
    host: GuardHost,
    actions: GuardParams['actions'],
    context: TaskContext,
    own: PlaceTree,
    why: string,
): void {
    const staged = new Map(
        actions
            .filter(({ action, type }) => action !== 'remove' && type === 'file')
            .map(({ path }) => [`/${showPath(path)}`, path]),
    )
    const look = areaHostOf(host)
    const rules = changedNamingRules(look, {
        changed: actions.map(({ path }) => `/${showPath(path)}`),
        read: path => (staged.has(path) ? textOf(own, staged.get(path)!) : undefined),
        names: path => look.names(path),
    })
    if (rules.length > 0)
        context.warn(`rules that name network cards are restored (${rules.join(', ')}), and ${why}`)
}

/** Rules that name cards may give them other names at the next boot: a person decides. */
async function mayRename(
    host: GuardHost,
    actions: GuardParams['actions'],
    map: NicMap,
    context: TaskContext,
    own: PlaceTree,
): Promise<boolean> {
    const look = areaHostOf(host)
    const files = new Map<string, string>()
    for (const directory of namingRuleDirectories)
        for (const name of look.names(directory)) {
            const text = look.read(`${directory}${name}`)
            if (text !== undefined) files.set(`${directory}${name}`, text)
        }
    for (const { path, action, type } of actions)
        if (action === 'remove') files.delete(`/${showPath(path)}`)
        else if (type === 'file') files.set(`/${showPath(path)}`, textOf(own, path))
    const rules = namingRules([...files].map(([path, text]) => ({ path, text })))
    if (rules.length === 0) return true
    const where = rules
        .slice(0, 5)
        .map(({ path, line }) => `${path} line ${line}`)
        .join(', ')
    const answer = await context.ask({
        id: 'nic.naming-rules',
        text: `Cards have other names here than in the backup: ${listed([...map.renames, ...map.conflicts.flatMap(one => one.renames)])}. But rules name cards too (${where}), and may rename them at the next boot. Rename in the configuration all the same?`,
        choices: [
            { value: 'skip', text: 'leave the names of the backup' },
            { value: 'rename', text: 'use the names of this host' },
        ],
        safe: 'skip',
    })
    return answer === 'rename'
}

async function decideConflicts(conflicts: readonly NicConflict[], context: TaskContext): Promise<Rename[]> {
    if (conflicts.length === 0) return []
    const told = conflicts.flatMap(({ renames, clashes }) => [
        listed(renames),
        ...clashes.map(({ name, why }) =>
            why === 'other-card'
                ? `but ${name} is a card of this host that the backup does not know`
                : `but the backup uses ${name} for something else`,
        ),
    ])
    const answer = await context.ask({
        id: 'nic.conflict',
        text: `It is not certain which network card is which: ${told.join('; ')}. Rename them?`,
        choices: [
            { value: 'skip', text: 'leave the names of the backup' },
            { value: 'rename', text: 'use the names of this host' },
        ],
        safe: 'skip',
    })
    if (answer === 'rename') return conflicts.flatMap(({ renames }) => renames)
    context.warn(`not renamed, as answered: ${listed(conflicts.flatMap(({ renames }) => renames))}`)
    return []
}

const textOf = (own: PlaceTree, path: ByteString): string =>
    Buffer.from(own.readWhole(`${stage}/${path}`)).toString('latin1')

/** The same owner, mode and times: what is new is the text. */
function rewrite(own: PlaceTree, path: ByteString, text: string): void {
    const at = `${stage}/${path}`
    const meta = own.look(at)!
    const draft = `${stage}/.renamed`
    own.remove(draft)
    own.writeWhole(draft, Buffer.from(text, 'latin1'))
    const fd = own.openFile(draft)
    try {
        own.remove(at)
        own.writeFile(at, fd, meta)
    } finally {
        close(fd)
    }
    own.remove(draft)
}
