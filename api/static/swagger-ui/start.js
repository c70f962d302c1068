// Ours, as is index.html. The document lies beside the page: /schema/openapi.json.
// validatorUrl: null keeps the page from sending it to swagger.io's validator.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
