{{- define "mediaserver.selector" -}}
app.kubernetes.io/name: mediaserver
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "mediaserver.labels" -}}
{{ include "mediaserver.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- define "mediaserver.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}
