/** Finds the files of the configuration: the main one and `conf.d`, in the order in which they merge. */
import { lstatSync, readdirSync, realpathSync } from 'node:fs'
import { join, sep } from 'node:path'
import { Fault } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { readSmallFile } from './atomic.ts'
import { codeOf } from './libc.ts'

export const configDirectory = 'etc/proxsave'

/**
 * The texts of `ROOT/etc/proxsave/proxsave.toml` and `conf.d/*.toml`, `file` without the root in front. Files that are
 * not there are simply not in the list. A link that leads out of the root is refused: with another root it would read
 * the running host.
 */
export function readConfigFiles(root: string): { file: string; text: string }[] {
    const directory = join(root, configDirectory)
    const names = ['proxsave.toml', ...listFragments(join(directory, 'conf.d')).map(name => `conf.d/${name}`)]
    const files: { file: string; text: string }[] = []
    for (const name of names) {
        const file = `/${configDirectory}/${name}`
        const path = join(directory, name)
        if (!exists(path)) continue
        refuseOutside(root, path, file)
        const bytes = readSmallFile(path, limits.configBytes)
        if (bytes !== undefined) files.push({ file, text: decode(bytes, file) })
    }
    return files
}

/** Names of the fragments, sorted by bytes so that the order does not depend on the host's language. */
function listFragments(directory: string): string[] {
    let names: string[]
    try {
        names = readdirSync(directory)
    } catch (error) {
        const code = codeOf(error)
        if (code === 'ENOENT' || code === 'ENOTDIR') return []
        throw new Fault('usage', `cannot use the configuration: cannot list ${directory}`, { cause: error })
    }
    // Editors and dpkg leave names such as .10-setup.toml.swp and 10-setup.toml.dpkg-new behind.
    const fragments = names.filter(name => name.endsWith('.toml') && !name.startsWith('.'))
    if (fragments.length > limits.configFiles)
        throw new Fault(
            'usage',
            `cannot use the configuration: ${directory} has ${fragments.length} files, ${limits.configFiles} are the most`,
        )
    return fragments.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

function exists(path: string): boolean {
    try {
        lstatSync(path)
        return true
    } catch (error) {
        if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false
        throw error
    }
}

function refuseOutside(root: string, path: string, file: string): void {
    let real: string
    try {
        real = realpathSync(path)
    } catch (error) {
        throw new Fault('usage', `cannot use the configuration: ${file} is a link that leads nowhere`, {
            hint: 'remove the link, or create what it points to',
            cause: error,
        })
    }
    const inside = realpathSync(root)
    if (inside !== sep && !real.startsWith(inside + sep))
        throw new Fault('usage', `cannot use the configuration: ${file} leads out of ${root}, to ${real}`)
}

function decode(bytes: Uint8Array, file: string): string {
    try {
        return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch (error) {
        throw new Fault('usage', `cannot use the configuration: ${file} is not UTF-8 text`, { cause: error })
    }
}
