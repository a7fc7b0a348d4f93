{{- define "memrelay.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "memrelay.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "memrelay.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "memrelay.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "memrelay.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "memrelay.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "memrelay.selector" -}}
app.kubernetes.io/name: {{ include "memrelay.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "memrelay.labels" -}}
{{ include "memrelay.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* Every Deployment of workers by its component's name: those of values, and one for each driver. */}}
{{- define "memrelay.workers" -}}
{{- $all := dict -}}
{{- range $name, $worker := .Values.workers -}}
{{- if $worker -}}
{{- $_ := set $all (printf "worker-%s" $name) $worker -}}
{{- end -}}
{{- end -}}
{{- if .Values.storeWorkers.enabled -}}
{{- range .Values.drivers -}}
{{- $queues := list (printf "store.%s" .) -}}
{{- $_ := set $all (printf "worker-store-%s" (replace "_" "-" .)) (merge (dict "queues" $queues) $.Values.storeWorkers) -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}
