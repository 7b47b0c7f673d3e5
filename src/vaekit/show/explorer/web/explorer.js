document.getElementById("page").textContent = "vaekit";
