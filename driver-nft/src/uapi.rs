//! The kernel's numbers, written down from its user-space headers.
//!
//! Each group names the header that defines it; the names are the header's own, so that they can be looked up.

/// `linux/netlink.h`: message flags.
pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_NONREC: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
pub(crate) const NLM_F_CAPPED: u16 = 0x100;
pub(crate) const NLM_F_ACK_TLVS: u16 = 0x200;

/// `linux/netlink.h`: control messages and the attributes of an extended acknowledgement (`enum nlmsgerr_attrs`).
pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLMSGERR_ATTR_MSG: u16 = 1;
pub(crate) const NLMSGERR_ATTR_OFFS: u16 = 2;

/// `linux/netlink.h`: the two high bits of an attribute's type, and the mask of the rest.
pub(crate) const NLA_F_NESTED: u16 = 0x8000;
pub(crate) const NLA_TYPE_MASK: u16 = 0x3fff;

/// `linux/rtnetlink.h`: messages about links and neighbours, multicast groups, and `RTEXT_FILTER_SKIP_STATS`.
pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_NEWNEIGH: u16 = 28;
pub(crate) const RTM_DELNEIGH: u16 = 29;
pub(crate) const RTM_GETNEIGH: u16 = 30;
pub(crate) const RTNLGRP_LINK: u32 = 1;
pub(crate) const RTNLGRP_NEIGH: u32 = 3;
pub(crate) const RTEXT_FILTER_SKIP_STATS: u32 = 8;

/// `linux/if_link.h`: attributes of links, and inside `IFLA_LINKINFO`.
pub(crate) const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_LINK: u16 = 5;
pub(crate) const IFLA_MASTER: u16 = 10;
pub(crate) const IFLA_LINKINFO: u16 = 18;
pub(crate) const IFLA_EXT_MASK: u16 = 29;
pub(crate) const IFLA_LINK_NETNSID: u16 = 37;
pub(crate) const IFLA_TARGET_NETNSID: u16 = 46;
pub(crate) const IFLA_INFO_KIND: u16 = 1;
pub(crate) const IFLA_INFO_SLAVE_KIND: u16 = 4;

/// `linux/neighbour.h`: attributes of neighbours, and the state of a bridge's own entries.
pub(crate) const NDA_LLADDR: u16 = 2;
pub(crate) const NDA_VLAN: u16 = 5;
pub(crate) const NDA_MASTER: u16 = 9;
pub(crate) const NUD_PERMANENT: u16 = 0x80;

/// `linux/socket.h`: the address families that links and bridge entries are asked for by.
pub(crate) const AF_UNSPEC: u8 = 0;
pub(crate) const AF_BRIDGE: u8 = 7;

/// `linux/netfilter.h`: protocol families.
pub(crate) const NFPROTO_UNSPEC: u8 = 0;
pub(crate) const NFPROTO_BRIDGE: u8 = 7;

/// `linux/netfilter/nfnetlink.h`: the subsystem, its multicast group, and the frame of a batch.
pub(crate) const NFNL_SUBSYS_NFTABLES: u16 = 10;
pub(crate) const NFNLGRP_NFTABLES: u32 = 7;
pub(crate) const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
pub(crate) const NFNL_MSG_BATCH_END: u16 = 0x11;
pub(crate) const NFNL_BATCH_GENID: u16 = 1;

/// `linux/netfilter/nf_tables.h`, `enum nf_tables_msg_types`.
pub(crate) const NFT_MSG_NEWTABLE: u16 = nftables(0);
pub(crate) const NFT_MSG_GETTABLE: u16 = nftables(1);
pub(crate) const NFT_MSG_DELTABLE: u16 = nftables(2);
pub(crate) const NFT_MSG_NEWCHAIN: u16 = nftables(3);
pub(crate) const NFT_MSG_GETCHAIN: u16 = nftables(4);
pub(crate) const NFT_MSG_DELCHAIN: u16 = nftables(5);
pub(crate) const NFT_MSG_NEWRULE: u16 = nftables(6);
pub(crate) const NFT_MSG_GETRULE: u16 = nftables(7);
pub(crate) const NFT_MSG_DELRULE: u16 = nftables(8);
pub(crate) const NFT_MSG_NEWSET: u16 = nftables(9);
pub(crate) const NFT_MSG_GETSET: u16 = nftables(10);
pub(crate) const NFT_MSG_DELSET: u16 = nftables(11);
pub(crate) const NFT_MSG_NEWSETELEM: u16 = nftables(12);
pub(crate) const NFT_MSG_GETSETELEM: u16 = nftables(13);
pub(crate) const NFT_MSG_DELSETELEM: u16 = nftables(14);
pub(crate) const NFT_MSG_NEWGEN: u16 = nftables(15);
pub(crate) const NFT_MSG_GETGEN: u16 = nftables(16);

/// A message of the nftables subsystem (`NFNL_SUBSYS_ID`, `linux/netfilter/nfnetlink.h`).
const fn nftables(message: u16) -> u16 {
    (NFNL_SUBSYS_NFTABLES << 8) | message
}

/// `linux/netfilter/nf_tables.h`, `enum nft_table_attributes` and `enum nft_table_flags`.
pub(crate) const NFTA_TABLE_NAME: u16 = 1;
pub(crate) const NFTA_TABLE_FLAGS: u16 = 2;
pub(crate) const NFT_TABLE_F_DORMANT: u32 = 1;
pub(crate) const NFT_TABLE_F_OWNER: u32 = 2;

/// `linux/netfilter/nf_tables.h`, `enum nft_chain_attributes`, `enum nft_hook_attributes`, `enum nft_chain_flags`.
pub(crate) const NFTA_CHAIN_TABLE: u16 = 1;
pub(crate) const NFTA_CHAIN_NAME: u16 = 3;
pub(crate) const NFTA_CHAIN_HOOK: u16 = 4;
pub(crate) const NFTA_CHAIN_POLICY: u16 = 5;
pub(crate) const NFTA_CHAIN_TYPE: u16 = 7;
pub(crate) const NFTA_CHAIN_FLAGS: u16 = 10;
pub(crate) const NFTA_CHAIN_USERDATA: u16 = 12;
pub(crate) const NFTA_HOOK_HOOKNUM: u16 = 1;
pub(crate) const NFTA_HOOK_PRIORITY: u16 = 2;
pub(crate) const NFT_CHAIN_BINDING: u32 = 4;

/// `linux/netfilter_bridge.h`: hooks of the bridge family.
pub(crate) const NF_BR_PRE_ROUTING: u32 = 0;
pub(crate) const NF_BR_LOCAL_IN: u32 = 1;
pub(crate) const NF_BR_FORWARD: u32 = 2;
pub(crate) const NF_BR_LOCAL_OUT: u32 = 3;
pub(crate) const NF_BR_POST_ROUTING: u32 = 4;

/// `linux/netfilter.h` and `linux/netfilter/nf_tables.h` (`enum nft_verdicts`): verdicts, the negative ones as
/// two's complement.
pub(crate) const NF_DROP: u32 = 0;
pub(crate) const NF_ACCEPT: u32 = 1;
pub(crate) const NFT_JUMP: u32 = 0xffff_fffd;
pub(crate) const NFT_GOTO: u32 = 0xffff_fffc;
pub(crate) const NFT_RETURN: u32 = 0xffff_fffb;

/// `linux/netfilter/nf_tables.h`, `enum nft_rule_attributes`.
pub(crate) const NFTA_RULE_TABLE: u16 = 1;
pub(crate) const NFTA_RULE_CHAIN: u16 = 2;
pub(crate) const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(crate) const NFTA_RULE_USERDATA: u16 = 7;

/// `linux/netfilter/nf_tables.h`, `enum nft_list_attributes` and `enum nft_expr_attributes`.
pub(crate) const NFTA_LIST_ELEM: u16 = 1;
pub(crate) const NFTA_EXPR_NAME: u16 = 1;
pub(crate) const NFTA_EXPR_DATA: u16 = 2;
pub(crate) const NFTA_COUNTER_BYTES: u16 = 1;
pub(crate) const NFTA_COUNTER_PACKETS: u16 = 2;

/// `linux/netfilter/nf_tables.h`, `enum nft_set_attributes`, `enum nft_set_desc_attributes`, `enum nft_set_flags`.
pub(crate) const NFTA_SET_TABLE: u16 = 1;
pub(crate) const NFTA_SET_NAME: u16 = 2;
pub(crate) const NFTA_SET_FLAGS: u16 = 3;
pub(crate) const NFTA_SET_KEY_TYPE: u16 = 4;
pub(crate) const NFTA_SET_KEY_LEN: u16 = 5;
pub(crate) const NFTA_SET_DATA_TYPE: u16 = 6;
pub(crate) const NFTA_SET_DATA_LEN: u16 = 7;
pub(crate) const NFTA_SET_DESC: u16 = 9;
pub(crate) const NFTA_SET_ID: u16 = 10;
pub(crate) const NFTA_SET_TIMEOUT: u16 = 11;
pub(crate) const NFTA_SET_USERDATA: u16 = 13;
pub(crate) const NFTA_SET_DESC_SIZE: u16 = 1;
pub(crate) const NFT_SET_ANONYMOUS: u32 = 0x1;
pub(crate) const NFT_SET_INTERVAL: u32 = 0x4;
pub(crate) const NFT_SET_MAP: u32 = 0x8;
pub(crate) const NFT_SET_TIMEOUT: u32 = 0x10;
pub(crate) const NFT_SET_EVAL: u32 = 0x20;

/// `linux/netfilter/nf_tables.h`: the most bytes that the kernel keeps for a listing program beside an object.
pub(crate) const NFT_USERDATA_MAXLEN: usize = 256;

/// `linux/netfilter/nf_tables.h`: the data type of a verdict map.
pub(crate) const NFT_DATA_VERDICT: u32 = 0xffff_ff00;

/// `linux/netfilter/nf_tables.h`, `enum nft_set_elem_list_attributes`, `enum nft_set_elem_attributes`,
/// `enum nft_set_elem_flags`.
pub(crate) const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
pub(crate) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
pub(crate) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(crate) const NFTA_SET_ELEM_KEY: u16 = 1;
pub(crate) const NFTA_SET_ELEM_DATA: u16 = 2;
pub(crate) const NFTA_SET_ELEM_FLAGS: u16 = 3;
pub(crate) const NFTA_SET_ELEM_USERDATA: u16 = 6;
pub(crate) const NFT_SET_ELEM_INTERVAL_END: u32 = 1;

/// `linux/netfilter/nf_tables.h`, `enum nft_data_attributes` and `enum nft_verdict_attributes`.
pub(crate) const NFTA_DATA_VALUE: u16 = 1;
pub(crate) const NFTA_DATA_VERDICT: u16 = 2;
pub(crate) const NFTA_VERDICT_CODE: u16 = 1;
pub(crate) const NFTA_VERDICT_CHAIN: u16 = 2;

/// `linux/netfilter/nf_tables.h`, `enum nft_registers`: four words make one of the 16-byte registers.
pub(crate) const NFT_REG_VERDICT: u32 = 0;
pub(crate) const NFT_REG_1: u32 = 1;
pub(crate) const NFT_REG_4: u32 = 4;
pub(crate) const NFT_REG32_00: u32 = 8;
pub(crate) const NFT_REG32_COUNT: u32 = 16;

/// `linux/netfilter/nf_tables.h`, `enum nft_meta_attributes` and `enum nft_meta_keys`.
pub(crate) const NFTA_META_DREG: u16 = 1;
pub(crate) const NFTA_META_KEY: u16 = 2;
pub(crate) const NFT_META_PROTOCOL: u32 = 1;
pub(crate) const NFT_META_IIF: u32 = 4;
pub(crate) const NFT_META_OIF: u32 = 5;
pub(crate) const NFT_META_L4PROTO: u32 = 16;
pub(crate) const NFT_META_BRI_IIFNAME: u32 = 17;
pub(crate) const NFT_META_BRI_OIFNAME: u32 = 18;
pub(crate) const NFT_META_BRI_IIFPVID: u32 = 28;

/// `linux/netfilter/nf_tables.h`, `enum nft_ct_attributes` and `enum nft_ct_keys`.
pub(crate) const NFTA_CT_DREG: u16 = 1;
pub(crate) const NFTA_CT_KEY: u16 = 2;
pub(crate) const NFTA_CT_DIRECTION: u16 = 3;
pub(crate) const NFTA_CT_SREG: u16 = 4;
pub(crate) const NFT_CT_STATE: u32 = 0;
pub(crate) const NFT_CT_DIRECTION: u32 = 1;
pub(crate) const NFT_CT_ZONE: u32 = 17;

/// `linux/netfilter/nf_conntrack_common.h`: `NF_CT_STATE_BIT` of the members of `enum ip_conntrack_info`;
/// `linux/netfilter/nf_conntrack_tuple_common.h`: `enum ip_conntrack_dir`.
pub(crate) const NF_CT_STATE_ESTABLISHED: u32 = 1 << 1;
pub(crate) const NF_CT_STATE_RELATED: u32 = 1 << 2;
pub(crate) const IP_CT_DIR_ORIGINAL: u8 = 0;
pub(crate) const IP_CT_DIR_REPLY: u8 = 1;

/// `linux/netfilter/nf_tables.h`, `enum nft_reject_attributes`, `enum nft_reject_types` and
/// `enum nft_reject_inet_code`.
pub(crate) const NFTA_REJECT_TYPE: u16 = 1;
pub(crate) const NFTA_REJECT_ICMP_CODE: u16 = 2;
pub(crate) const NFT_REJECT_ICMPX_UNREACH: u32 = 2;
pub(crate) const NFT_REJECT_ICMPX_PORT_UNREACH: u8 = 1;

/// `linux/netfilter/nf_tables.h`, `enum nft_payload_attributes` and `enum nft_payload_bases`.
pub(crate) const NFTA_PAYLOAD_DREG: u16 = 1;
pub(crate) const NFTA_PAYLOAD_BASE: u16 = 2;
pub(crate) const NFTA_PAYLOAD_OFFSET: u16 = 3;
pub(crate) const NFTA_PAYLOAD_LEN: u16 = 4;
pub(crate) const NFT_PAYLOAD_LL_HEADER: u32 = 0;
pub(crate) const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
pub(crate) const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;

/// `linux/netfilter/nf_tables.h`, `enum nft_exthdr_attributes` and `enum nft_exthdr_op`.
pub(crate) const NFTA_EXTHDR_DREG: u16 = 1;
pub(crate) const NFTA_EXTHDR_TYPE: u16 = 2;
pub(crate) const NFTA_EXTHDR_OFFSET: u16 = 3;
pub(crate) const NFTA_EXTHDR_LEN: u16 = 4;
pub(crate) const NFTA_EXTHDR_FLAGS: u16 = 5;
pub(crate) const NFTA_EXTHDR_OP: u16 = 6;
pub(crate) const NFT_EXTHDR_OP_IPV6: u32 = 0;

/// `linux/netfilter/nf_tables.h`, `enum nft_cmp_attributes` and `enum nft_cmp_ops`.
pub(crate) const NFTA_CMP_SREG: u16 = 1;
pub(crate) const NFTA_CMP_OP: u16 = 2;
pub(crate) const NFTA_CMP_DATA: u16 = 3;
pub(crate) const NFT_CMP_EQ: u32 = 0;
pub(crate) const NFT_CMP_NEQ: u32 = 1;
pub(crate) const NFT_CMP_LTE: u32 = 3;
pub(crate) const NFT_CMP_GTE: u32 = 5;

/// `linux/netfilter/nf_tables.h`, `enum nft_bitwise_attributes` and `enum nft_bitwise_ops`
/// (`NFT_BITWISE_MASK_XOR`, called `NFT_BITWISE_BOOL` before Linux 6.13).
pub(crate) const NFTA_BITWISE_SREG: u16 = 1;
pub(crate) const NFTA_BITWISE_DREG: u16 = 2;
pub(crate) const NFTA_BITWISE_LEN: u16 = 3;
pub(crate) const NFTA_BITWISE_MASK: u16 = 4;
pub(crate) const NFTA_BITWISE_XOR: u16 = 5;
pub(crate) const NFTA_BITWISE_OP: u16 = 6;
pub(crate) const NFT_BITWISE_MASK_XOR: u32 = 0;

/// `linux/netfilter/nf_tables.h`, `enum nft_lookup_attributes` and `enum nft_lookup_flags`.
pub(crate) const NFTA_LOOKUP_SET: u16 = 1;
pub(crate) const NFTA_LOOKUP_SREG: u16 = 2;
pub(crate) const NFTA_LOOKUP_DREG: u16 = 3;
pub(crate) const NFTA_LOOKUP_FLAGS: u16 = 5;
pub(crate) const NFT_LOOKUP_F_INV: u32 = 1;

/// `linux/netfilter/nf_tables.h`, `enum nft_dynset_attributes`, `enum nft_dynset_ops`.
pub(crate) const NFTA_DYNSET_SET_NAME: u16 = 1;
pub(crate) const NFTA_DYNSET_OP: u16 = 3;
pub(crate) const NFTA_DYNSET_SREG_KEY: u16 = 4;
pub(crate) const NFTA_DYNSET_SREG_DATA: u16 = 5;
pub(crate) const NFTA_DYNSET_TIMEOUT: u16 = 6;
pub(crate) const NFTA_DYNSET_EXPR: u16 = 7;
pub(crate) const NFTA_DYNSET_FLAGS: u16 = 9;
pub(crate) const NFTA_DYNSET_EXPRESSIONS: u16 = 10;
pub(crate) const NFT_DYNSET_OP_UPDATE: u32 = 1;

/// `linux/netfilter/nf_tables.h`, `enum nft_immediate_attributes`.
pub(crate) const NFTA_IMMEDIATE_DREG: u16 = 1;
pub(crate) const NFTA_IMMEDIATE_DATA: u16 = 2;

/// `linux/netfilter/nf_tables.h`, `enum nft_gen_attributes`.
pub(crate) const NFTA_GEN_ID: u16 = 1;
pub(crate) const NFTA_GEN_PROC_PID: u16 = 2;
pub(crate) const NFTA_GEN_PROC_NAME: u16 = 3;

/// `linux/netfilter/nf_tables.h`, `enum nft_limit_attributes` and `enum nft_limit_type`.
pub(crate) const NFTA_LIMIT_RATE: u16 = 1;
pub(crate) const NFTA_LIMIT_UNIT: u16 = 2;
pub(crate) const NFTA_LIMIT_BURST: u16 = 3;
pub(crate) const NFTA_LIMIT_TYPE: u16 = 4;
pub(crate) const NFTA_LIMIT_FLAGS: u16 = 5;
pub(crate) const NFT_LIMIT_PKTS: u32 = 0;

/// `linux/netfilter/nf_tables.h`, `enum nft_log_attributes`.
pub(crate) const NFTA_LOG_GROUP: u16 = 1;
pub(crate) const NFTA_LOG_PREFIX: u16 = 2;
pub(crate) const NFTA_LOG_SNAPLEN: u16 = 3;
pub(crate) const NFTA_LOG_QTHRESHOLD: u16 = 4;
pub(crate) const NFTA_LOG_LEVEL: u16 = 5;
pub(crate) const NFTA_LOG_FLAGS: u16 = 6;

/// `linux/netfilter/nfnetlink.h` and `linux/netfilter/nfnetlink_log.h` (`enum nfulnl_msg_types`): the subsystem and its
/// messages.
pub(crate) const NFNL_SUBSYS_ULOG: u16 = 4;
pub(crate) const NFULNL_MSG_PACKET: u16 = NFNL_SUBSYS_ULOG << 8;
pub(crate) const NFULNL_MSG_CONFIG: u16 = (NFNL_SUBSYS_ULOG << 8) | 1;

/// `linux/netfilter/nfnetlink_log.h`, `enum nfulnl_attr_type`.
pub(crate) const NFULA_PACKET_HDR: u16 = 1;
pub(crate) const NFULA_TIMESTAMP: u16 = 3;
pub(crate) const NFULA_IFINDEX_PHYSINDEV: u16 = 6;
pub(crate) const NFULA_IFINDEX_PHYSOUTDEV: u16 = 7;
pub(crate) const NFULA_PAYLOAD: u16 = 9;
pub(crate) const NFULA_PREFIX: u16 = 10;
pub(crate) const NFULA_HWHEADER: u16 = 16;
pub(crate) const NFULA_L2HDR: u16 = 21;

/// `linux/netfilter/nfnetlink_log.h`: `enum nfulnl_attr_config`, `enum nfulnl_msg_config_cmds` and `NFULNL_COPY_PACKET`.
pub(crate) const NFULA_CFG_CMD: u16 = 1;
pub(crate) const NFULA_CFG_MODE: u16 = 2;
pub(crate) const NFULA_CFG_TIMEOUT: u16 = 4;
pub(crate) const NFULNL_CFG_CMD_BIND: u8 = 1;
pub(crate) const NFULNL_COPY_PACKET: u8 = 2;
