/** What a person would call the state of a tree: every name with type, owner, mode, times and content. */
import { run } from '../backup/lab.ts'

const listing = `
import hashlib, os, stat, sys
skip = [os.fsencode(p) for p in sys.argv[2:]]
def show(path, name):
    s = os.lstat(path)
    if stat.S_ISLNK(s.st_mode): content = os.readlink(path)
    elif stat.S_ISREG(s.st_mode): content = hashlib.sha256(open(path, 'rb').read()).hexdigest()
    else: content = ''
    print(repr(name), oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink if stat.S_ISREG(s.st_mode) else 0, s.st_mtime_ns, content)
def walk(path, name):
    if name in skip: return
    show(path, name)
    if os.path.isdir(path) and not os.path.islink(path):
        for n in sorted(os.listdir(path)): walk(os.path.join(path, n), name + b'/' + n)
walk(os.fsencode(sys.argv[1]), b'')
`

/** One line an entry; `skip` are paths below the directory that begin with a slash. */
export function treeState(directory: string, ...skip: string[]): Promise<string> {
    return run(['python3', '-c', listing, directory, ...skip])
}
