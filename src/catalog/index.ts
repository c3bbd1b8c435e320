/** The catalogue: every category, in the order in which archives hold them. */
import type { Manifest } from '../format/manifest.ts'
import type { Category, Product } from './category.ts'
import { accounts } from './categories/accounts.ts'
import { apt } from './categories/apt.ts'
import { boot } from './categories/boot.ts'
import { captured } from './categories/captured.ts'
import { ceph } from './categories/ceph.ts'
import { corosync } from './categories/corosync.ts'
import { crontabs } from './categories/crontabs.ts'
import { datastorePbs } from './categories/datastore_pbs.ts'
import { etcRest } from './categories/etc_rest.ts'
import { filesystem } from './categories/filesystem.ts'
import { hostFirewall } from './categories/host_firewall.ts'
import { included } from './categories/included.ts'
import { locale } from './categories/locale.ts'
import { login } from './categories/login.ts'
import { machine } from './categories/machine.ts'
import { mail } from './categories/mail.ts'
import { network } from './categories/network.ts'
import { packages } from './categories/packages.ts'
import { pbsAccessControl } from './categories/pbs_access_control.ts'
import { pbsConfig } from './categories/pbs_config.ts'
import { pbsEncryptionKeys } from './categories/pbs_encryption_keys.ts'
import { pbsHost } from './categories/pbs_host.ts'
import { pbsJobs } from './categories/pbs_jobs.ts'
import { pbsNotifications } from './categories/pbs_notifications.ts'
import { pbsRemotes } from './categories/pbs_remotes.ts'
import { pbsTape } from './categories/pbs_tape.ts'
import { proxsave } from './categories/proxsave.ts'
import { pveAccessControl } from './categories/pve_access_control.ts'
import { pveAcme } from './categories/pve_acme.ts'
import { pveCluster } from './categories/pve_cluster.ts'
import { pveConfigExport } from './categories/pve_config_export.ts'
import { pveCpuModels } from './categories/pve_cpu_models.ts'
import { pveFirewall } from './categories/pve_firewall.ts'
import { pveGuests } from './categories/pve_guests.ts'
import { pveHa } from './categories/pve_ha.ts'
import { pveIdentity } from './categories/pve_identity.ts'
import { pveJobs } from './categories/pve_jobs.ts'
import { pveMappings } from './categories/pve_mappings.ts'
import { pveMetrics } from './categories/pve_metrics.ts'
import { pveNodes } from './categories/pve_nodes.ts'
import { pveNotifications } from './categories/pve_notifications.ts'
import { pveReplication } from './categories/pve_replication.ts'
import { pveSdn } from './categories/pve_sdn.ts'
import { pveSnippets } from './categories/pve_snippets.ts'
import { scripts } from './categories/scripts.ts'
import { services } from './categories/services.ts'
import { ssh } from './categories/ssh.ts'
import { ssl } from './categories/ssl.ts'
import { storagePve } from './categories/storage_pve.ts'
import { storageStack } from './categories/storage_stack.ts'
import { sudo } from './categories/sudo.ts'
import { time } from './categories/time.ts'
import { userData } from './categories/user_data.ts'
import { zfs } from './categories/zfs.ts'

/** Catalogue order: product configuration first, then the host, what people made, and last what commands printed. */
export const categories: readonly Category[] = [
    pveCluster,
    storagePve,
    pveJobs,
    pveReplication,
    pveNotifications,
    pveAccessControl,
    pveFirewall,
    pveHa,
    pveSdn,
    pveGuests,
    pveSnippets,
    pveMappings,
    pveCpuModels,
    pveMetrics,
    pveAcme,
    pveNodes,
    pveIdentity,
    pveConfigExport,
    corosync,
    ceph,
    datastorePbs,
    pbsEncryptionKeys,
    pbsRemotes,
    pbsJobs,
    pbsHost,
    pbsNotifications,
    pbsAccessControl,
    pbsTape,
    pbsConfig,
    network,
    hostFirewall,
    ssh,
    ssl,
    filesystem,
    storageStack,
    zfs,
    services,
    crontabs,
    scripts,
    accounts,
    sudo,
    login,
    time,
    locale,
    mail,
    apt,
    packages,
    boot,
    machine,
    proxsave,
    etcRest,
    userData,
    included,
    captured,
]

const byId = new Map(categories.map(category => [category.id, category]))

export function categoryById(id: string): Category | undefined {
    return byId.get(id)
}

export type ProductKind = Manifest['product']['kind']

const productsOf: Record<ProductKind, readonly Product[]> = {
    pve: ['pve', 'common'],
    pbs: ['pbs', 'common'],
    both: ['pve', 'pbs', 'common'],
    debian: ['common'],
}

/** The categories that a host of this kind has, in catalogue order. */
export function categoriesOf(kind: ProductKind): readonly Category[] {
    return categories.filter(category => productsOf[kind].includes(category.product))
}
