/** The task `restore.export`: chosen entries as files to look at, in a directory of proxsave's own and nowhere else. */
import { basename, dirname } from 'node:path'
import { Fault } from '../core/errors.ts'
import type { Json } from '../engine/change.ts'
import type { TaskKind } from '../engine/kinds.ts'
import type { ByteString } from '../format/tar-write.ts'
import { makePrivateDirectory } from '../host/data-file.ts'
import { placeCalls, PlaceTree } from '../host/place.ts'
import { exportName } from './exports.ts'
import { exportsDirectory, type RestoreHost } from './host.ts'
import { unpack } from './stage.ts'

export type ExportParams = {
    archive: string
    identity?: string
    /** Paths in the archive, one character a byte, without a leading slash. */
    entries: ByteString[]
    /** What is exported, for people. */
    categories: string[]
    /** STATE/exports/<host>-<UTC stamp>, absolute. */
    directory: string
}

export function restoreExport(host: RestoreHost): TaskKind<Json> {
    const nameOf = ({ directory }: ExportParams): string => {
        const name = basename(directory)
        if (dirname(directory) === exportsDirectory(host.state) && exportName.test(name)) return name
        throw new Fault(
            'failed',
            `cannot export to ${directory}: exports lie in ${exportsDirectory(host.state)}`,
        )
    }
    const withExports = <T>(act: (tree: PlaceTree) => T): T => {
        makePrivateDirectory(exportsDirectory(host.state))
        const tree = new PlaceTree(exportsDirectory(host.state), host.calls ?? placeCalls)
        try {
            return act(tree)
        } finally {
            tree.close()
        }
    }
    return {
        kind: 'restore.export',
        async do(params, context) {
            const wanted = params as unknown as ExportParams
            const name = nameOf(wanted)
            withExports(tree => {
                if (tree.look(name) !== undefined) {
                    if (context.remembered() === undefined)
                        throw new Fault(
                            'failed',
                            `cannot export to ${wanted.directory}: it is there already`,
                            {
                                hint: 'try again: the next one has another name',
                            },
                        )
                    tree.removeTree(name)
                }
                context.remember({ directory: wanted.directory })
                tree.settle()
            })
            const result = await unpack(host, wanted, wanted.directory, context)
            withExports(tree => {
                tree.touch('')
                tree.settle()
            })
            context.fact('exports', wanted.directory)
            context.log(`exported ${wanted.categories.join(', ')} to ${wanted.directory}`)
            return result
        },
        async undo(params, context) {
            // Refused, or never begun: what stands there is somebody else's.
            if (context.remembered() === undefined) return
            const name = nameOf(params as unknown as ExportParams)
            withExports(tree => {
                tree.removeTree(name)
                tree.settle()
            })
        },
    }
}
