/** Tells when something below a directory changed, once for a burst of changes. */
import { existsSync } from 'node:fs'
import { watch } from 'chokidar'

export interface Watch {
    close(): Promise<void>
}

/** Editors write in several steps; this long (ms) after the last one a change counts. */
const settleMs = 500
/** Neither inotify nor chokidar sees a directory again that was removed and made anew. */
const lookAgainMs = 30_000

/**
 * `depth` levels of directories below `directory` are watched. `onChange` is called once when watching begins too: what
 * changed before that moment nobody would tell. `onError` may be called often.
 */
export function watchDirectory(
    directory: string,
    depth: number,
    onChange: () => void,
    onError: (error: unknown) => void,
): Watch {
    let timer: ReturnType<typeof setTimeout> | undefined
    const changed = () => {
        clearTimeout(timer)
        timer = setTimeout(onChange, settleMs)
    }
    const begin = () =>
        watch(directory, { depth, ignoreInitial: true, persistent: true, ignorePermissionErrors: true })
            .on('all', changed)
            .on('ready', changed)
            .on('error', onError)
    let watcher = begin()
    let wasThere = existsSync(directory)
    const again = setInterval(() => {
        const isThere = existsSync(directory)
        if (isThere && !wasThere) {
            void watcher.close()
            watcher = begin()
        }
        wasThere = isThere
    }, lookAgainMs)
    again.unref()
    return {
        async close() {
            clearTimeout(timer)
            clearInterval(again)
            await watcher.close()
        },
    }
}
