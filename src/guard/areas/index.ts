/** What each area knows. */
import type { AreaId } from '../../catalog/areas.ts'
import type { GuardArea } from '../area.ts'
import { access } from './access.ts'
import { firewall } from './firewall.ts'
import { network } from './network.ts'
import { ssh } from './ssh.ts'

export const guardAreas: Readonly<Record<AreaId, GuardArea>> = { access, firewall, ssh, network }
