{{/*
The objects are those of deploy/manifests/base, which is part of the chart: what is said there is not said again here.
Templates change in them what values and the release say.

"own" makes an object the release's: (list ROOT OBJECT). The names stay: two agents on a node would each repair what the
other writes.
*/}}
{{- define "own" -}}
{{- $object := index . 1 }}
{{- $_ := set $object.metadata "labels" (dict "app" "mnp-nft-bridge") }}
{{- if hasKey $object.metadata "namespace" }}
{{- $_ := set $object.metadata "namespace" (index . 0).Release.Namespace }}
{{- end }}
{{- end }}

{{/* Sets a field, or takes it away when the value is empty: (list OBJECT FIELD VALUE). */}}
{{- define "field" -}}
{{- $object := index . 0 }}
{{- if index . 2 }}
{{- $_ := set $object (index . 1) (index . 2) }}
{{- else }}
{{- $_ := unset $object (index . 1) }}
{{- end }}
{{- end }}
