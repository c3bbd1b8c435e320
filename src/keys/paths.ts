/** Where keys and identities lie, below a root and a state directory. */
import { join } from 'node:path'

export interface KeyPaths {
    /** `/etc/proxsave`, 0755. */
    config: string
    /** age recipients, public. */
    recipients: string
    /** The private identity in the plain, 0600. */
    identity: string
    /** The private identity behind a passphrase, 0600; a copy travels inside each backup. */
    protectedIdentity: string
    /** What proxsave remembers about keys: which sheets were printed. */
    record: string
}

export function keyPaths(root: string, state: string): KeyPaths {
    const config = join(root, 'etc/proxsave')
    return {
        config,
        recipients: join(config, 'recipients'),
        identity: join(config, 'identity.txt'),
        protectedIdentity: join(config, 'identity.age'),
        record: join(state, 'keys.json'),
    }
}
