/**
 * Which sections and properties the files of Proxmox Backup Server 3 and 4 have, and the notification files that
 * Proxmox VE shares with it.
 *
 * In the lists `*` marks what a section cannot do without, `[]` what may be repeated, `?` a boolean, `#` a whole number.
 */
import type { PropertySpec, SectionSchema, SectionSpec } from '../section-config-pbs.ts'

const safeId = (least: number, most: number) => (id: string) =>
    id.length >= least && id.length <= most && /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(id)
const entity = safeId(3, 32)
const realm = safeId(2, 32)
const userid = (id: string) => id.length <= 64 && /^[^\s:/\p{Cc}]+@[A-Za-z0-9_][A-Za-z0-9._-]*$/u.test(id)
const tokenid = (id: string) =>
    id.length <= 64 && /^[^\s:/\p{Cc}]+@[A-Za-z0-9_][A-Za-z0-9._-]*![A-Za-z0-9_][A-Za-z0-9._-]*$/u.test(id)

const rates = 'rate-in rate-out burst-in burst-out'
const keeps = 'keep-last# keep-hourly# keep-daily# keep-weekly# keep-monthly# keep-yearly#'
const ldap =
    '*server1 server2 bind-dn capath comment default? filter mode port# sync-attributes sync-defaults-options ' +
    'type user-classes verify?'
const endpoint = 'comment disable? origin filter'

const builtinRealm = section(realm, 'comment default? type')
const s3Endpoint = section(
    entity,
    `*access-key *endpoint *secret-key fingerprint path-style? port# provider-quirks[] put-rate-limit# region ${rates}`,
)
const notification = {
    sendmail: section(realm, `${endpoint} author from-address mailto[] mailto-user[]`),
    smtp: section(
        realm,
        `${endpoint} *from-address *server author mailto[] mailto-user[] mode port# username`,
    ),
    gotify: section(realm, `${endpoint} *server`),
    webhook: section(realm, `${endpoint} *method *url body header[] secret[]`),
    matcher: section(
        realm,
        `${endpoint} invert-match? match-calendar[] match-field[] match-severity[] mode target[]`,
    ),
}
const notificationSecret = {
    smtp: section(realm, 'password'),
    gotify: section(realm, '*token'),
    webhook: section(realm, 'secret[]'),
}

/** By path below /etc/proxmox-backup. */
export const pbsSchemas: ReadonlyMap<string, SectionSchema> = new Map(
    Object.entries<Record<string, SectionSpec>>({
        'datastore.cfg': {
            datastore: section(
                entity,
                '*path backend backing-device comment counter-reset-schedule gc-on-unmount? gc-schedule ' +
                    'maintenance-mode notification-mode notification-thresholds notify notify-user ' +
                    `prune-schedule tuning verify-new? ${keeps}`,
            ),
        },
        's3.cfg': { 's3-endpoint': s3Endpoint, s3client: s3Endpoint },
        'remote.cfg': {
            remote: section(entity, '*auth-id *host *password comment fingerprint port# use-node-proxy?'),
        },
        'sync.cfg': {
            sync: section(
                entity,
                '*remote-store *store active-encryption-key associated-key[] comment encrypted-only? group-filter[] ' +
                    'max-depth# ns owner remote remote-ns remove-vanished? resync-corrupt? run-on-mount? schedule ' +
                    `sync-direction transfer-last# unmount-on-done? verified-only? worker-threads# ${rates}`,
            ),
        },
        'prune.cfg': { prune: section(entity, `*schedule *store comment disable? max-depth# ns ${keeps}`) },
        'verification.cfg': {
            verification: section(
                entity,
                '*store comment ignore-verified? max-depth# ns outdated-after# read-threads# schedule verify-threads#',
            ),
        },
        'tape-job.cfg': {
            backup: section(
                entity,
                '*drive *pool *store comment eject-media? export-media-set? group-filter[] latest-only? max-depth# ' +
                    'notification-mode notify-user ns schedule worker-threads#',
            ),
        },
        'media-pool.cfg': { pool: section(realm, 'allocation comment encrypt retention template') },
        'tape.cfg': {
            lto: section(entity, '*path changer changer-drivenum#'),
            changer: section(entity, '*path eject-before-unload? export-slots'),
            virtual: { id: entity },
        },
        'traffic-control.cfg': {
            rule: section(entity, `*network[] comment timeframe[] users[] ${rates}`),
        },
        'metricserver.cfg': {
            'influxdb-http': section(
                entity,
                '*url bucket comment enable? max-body-size# organization token verify-tls?',
            ),
            'influxdb-udp': section(entity, '*host comment enable? mtu#'),
        },
        // What a key's section holds besides is not published: only its syntax counts.
        'encryption-keys.cfg': { 'sync-key': { id: entity } },
        'user.cfg': {
            user: section(userid, 'comment email enable? expire# firstname lastname'),
            token: section(tokenid, 'comment enable? expire#'),
        },
        'domains.cfg': {
            pam: builtinRealm,
            pbs: builtinRealm,
            openid: section(
                realm,
                '*client-id *issuer-url acr-values audiences autocreate? client-key comment default? prompt scopes ' +
                    'type username-claim',
            ),
            ldap: section(realm, `${ldap} *base-dn *user-attr`),
            ad: section(realm, `${ldap} base-dn`),
        },
        'notifications.cfg': notification,
        'notifications-priv.cfg': notificationSecret,
        'acme/plugins.cfg': {
            dns: section(safeId(1, 32), '*api *data disable? validation-delay#'),
            standalone: section(safeId(1, 32), ''),
        },
    }).map(([path, types]) => [path, new Map(Object.entries(types))]),
)

/** By path below /etc/pve: the files there that the Rust code reads. Undefined: only the syntax counts. */
export const pveRustSchemas: ReadonlyMap<string, SectionSchema | undefined> = new Map([
    // Proxmox VE 8.0 had groups and filters of its own; later releases read over them.
    [
        'notifications.cfg',
        new Map<string, SectionSpec>(Object.entries({ ...notification, group: {}, filter: {} })),
    ],
    ['priv/notifications.cfg', new Map<string, SectionSpec>(Object.entries(notificationSecret))],
    ['sdn/fabrics.cfg', undefined],
    ['sdn/route-maps.cfg', undefined],
    ['sdn/prefix-lists.cfg', undefined],
])

function section(id: (id: string) => boolean, list: string): SectionSpec {
    const properties = new Map<string, PropertySpec>()
    for (const word of list.split(' ').filter(word => word !== '')) {
        const [, star, key, mark] = /^(\*?)(.*?)(\[\]|[?#])?$/.exec(word) as unknown as string[]
        const value = mark === '?' ? 'boolean' : mark === '#' ? 'integer' : 'string'
        properties.set(key!, { required: star === '*', list: mark === '[]', value })
    }
    return { id, properties }
}
